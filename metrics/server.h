#pragma once
// A small HTTP server for a few pages that are made when they are asked for.

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace cfm::metrics {

struct Page {
  std::string type;  // "text/plain; version=0.0.4"
  std::string body;
};

class Server {
 public:
  // Answers GET of each path ("/metrics") on threads of its own; anything else is 404 or 405. `listen`: address and
  // port, "127.0.0.1:0" for a port of the system's choice. A client that is slow, sends nonsense or too much is cut
  // off; more than a few at a time wait for each other, nobody else does. Error if it cannot listen there.
  Server(const std::string& listen, const std::map<std::string, std::function<Page()>>& pages);
  ~Server();  // waits for answers under way
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  std::string address() const;  // without the port: "127.0.0.1"
  int port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "127.0.0.1:9464" in two; Error naming the flag unless it is an address and a port.
std::pair<std::string, int> address_and_port(const std::string& listen);

}  // namespace cfm::metrics
