#pragma once
// Plain sockets for tests that talk to our servers, and badly if need be.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace cfm::test {

// A connection to 127.0.0.1 that gives up reading after `seconds`.
class Connection {
 public:
  explicit Connection(int port, int seconds = 20) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit{.tv_sec = seconds, .tv_usec = 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = ::htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Connection() { ::close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  bool connected() const { return connected_; }
  // Whether all of it could be sent.
  bool send(const std::string& bytes) const {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t sent = ::send(socket_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      at += static_cast<size_t>(sent);
    }
    return true;
  }
  // Until the other side closes.
  std::string read_all() const {
    std::string all;
    char buffer[4096];
    for (ssize_t n; (n = ::recv(socket_, buffer, sizeof buffer, 0)) > 0;) all.append(buffer, static_cast<size_t>(n));
    return all;
  }

 private:
  int socket_;
  bool connected_ = false;
};

// The answer to a GET: status line, headers, body. Empty if there is none. HTTP/1.0: the body is not cut into chunks.
inline std::string http_get(int port, const std::string& path) {
  const Connection connection(port);
  connection.send("GET " + path + " HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  return connection.read_all();
}

// Clients that ask for a page a byte a second, without an end, and come back when they are cut off.
class DrippingClients {
 public:
  DrippingClients(int port, int clients) : thread_([this, port, clients] { drip(port, clients); }) {}
  ~DrippingClients() {
    ending_ = true;
    thread_.join();
  }
  DrippingClients(const DrippingClients&) = delete;
  DrippingClients& operator=(const DrippingClients&) = delete;

 private:
  void drip(int port, int clients) const {
    const std::string request = "GET /metrics HTTP/1.1\r\nX: " + std::string(1000, 'a');
    std::vector<std::unique_ptr<Connection>> connections(static_cast<size_t>(clients));
    std::vector<size_t> sent(connections.size());
    while (!ending_) {
      for (size_t i = 0; i < connections.size(); ++i) {
        if (connections[i] && connections[i]->send(request.substr(sent[i]++, 1))) continue;
        connections[i] = std::make_unique<Connection>(port);
        sent[i] = 0;
      }
      for (int i = 0; i < 10 && !ending_; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
  std::atomic<bool> ending_ = false;
  std::thread thread_;  // last: it uses the above
};

inline std::string body_of(const std::string& answer) {
  const size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

// A port of 127.0.0.1 that nobody listens on now; below those that the kernel gives to whoever connects meanwhile.
inline int free_port() {
  std::random_device random;
  for (;;) {
    const int port = std::uniform_int_distribution(15000, 32000)(random);
    const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = ::htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    const int bound = ::bind(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::close(socket);
    if (bound == 0) return port;
  }
}

}  // namespace cfm::test
