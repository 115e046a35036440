#include "metrics/server.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cfm::metrics {
namespace {

using Maker = std::function<Page()>;
using Pages = std::map<std::string, Maker>;

// civetweb asks for "/metrics/x" here, too.
int answer(mg_connection* connection, void* which) {
  const auto& [path, maker] = *static_cast<const Pages::value_type*>(which);
  const mg_request_info* request = mg_get_request_info(connection);
  if (path != request->local_uri) {
    mg_send_http_error(connection, 404, "%s", "there is no such page");
    return 404;
  }
  const std::string method = request->request_method;
  if (method != "GET" && method != "HEAD") {
    mg_send_http_error(connection, 405, "%s", "only GET is answered here");
    return 405;
  }
  Page page;
  try {
    page = maker();
  } catch (const std::exception& e) {
    mg_send_http_error(connection, 500, "%s", e.what());
    return 500;
  }
  mg_printf(connection,
            "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
            "Connection: close\r\n\r\n",
            page.type.c_str(), page.body.size());
  if (method == "GET") mg_write(connection, page.body.data(), page.body.size());
  return 200;
}

// Connects to a server of this machine that listens to `where`, says nothing, and goes.
void knock(const std::string& where, int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0) return;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = ::htons(static_cast<uint16_t>(port));
  if (::inet_pton(AF_INET, where.c_str(), &address.sin_addr) != 1 || address.sin_addr.s_addr == INADDR_ANY)
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  [[maybe_unused]] const int refused = ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  ::close(socket);
}

// What it says of its own before it serves; later on it is nonsense that clients send, which is not worth a line.
struct Said {
  std::string text;
  std::atomic<bool> serving = false;
};
int listen_to(const mg_connection* connection, const char* message) {
  auto* const said = static_cast<Said*>(mg_get_user_data(mg_get_context(connection)));
  if (said != nullptr && !said->serving) said->text += (said->text.empty() ? "" : "; ") + std::string(message);
  return 1;
}

}  // namespace

struct Server::Impl {
  Pages pages;
  mg_context* context = nullptr;
  std::string address;
  int port = 0;
  Said said;
};

std::pair<std::string, int> address_and_port(const std::string& listen) {
  const size_t colon = listen.rfind(':');
  int port = -1;
  if (colon != std::string::npos) {
    const char* end = listen.data() + listen.size();
    const auto [stopped, error] = std::from_chars(listen.data() + colon + 1, end, port);
    if (error != std::errc() || stopped != end) port = -1;
  }
  check(colon != std::string::npos && colon > 0 && port >= 0 && port <= 65535 &&
            listen.find_first_of(", \t\n") == std::string::npos,
        "--metrics=" + listen + ": expected one address and a port, as 127.0.0.1:0 or 0.0.0.0:9464; empty: none");
  return {listen.substr(0, colon), port};
}

Server::Server(const std::string& listen, const Pages& pages) : impl_(std::make_unique<Impl>()) {
  impl_->pages = pages;
  impl_->address = address_and_port(listen).first;
  std::vector<const char*> options{"listening_ports",
                                   listen.c_str(),
                                   "num_threads",
                                   "8",
                                   "request_timeout_ms",
                                   "2000",
                                   "enable_keep_alive",
                                   "no",
                                   "max_request_size",
                                   "16384",
                                   "connection_queue",
                                   "64",
                                   nullptr};
  mg_callbacks callbacks{};
  callbacks.log_message = listen_to;
  mg_init_data init{};
  init.callbacks = &callbacks;
  init.user_data = &impl_->said;
  init.configuration_options = options.data();
  std::array<char, 256> why{};
  mg_error_data error{};
  error.text = why.data();
  error.text_buffer_size = why.size();
  impl_->context = mg_start2(&init, &error);
  if (impl_->context == nullptr)
    throw Error("cannot listen on " + listen + ": " + (impl_->said.text.empty() ? why.data() : impl_->said.text),
                ExitCode::kRetry);
  impl_->said.serving = true;
  std::array<mg_server_port, 4> ports{};
  if (mg_get_server_ports(impl_->context, static_cast<int>(ports.size()), ports.data()) > 0)
    impl_->port = ports[0].port;
  for (auto& page : impl_->pages) mg_set_request_handler(impl_->context, page.first.c_str(), answer, &page);
}

// civetweb looks every two seconds whether it is to stop, or when somebody knocks.
Server::~Server() {
  std::thread stopping([this] { mg_stop(impl_->context); });
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
  knock(impl_->address, impl_->port);
  stopping.join();
}

std::string Server::address() const { return impl_->address; }
int Server::port() const { return impl_->port; }

}  // namespace cfm::metrics
