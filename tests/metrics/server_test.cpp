#include "metrics/server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "base/error.h"
#include "support/http.h"

namespace cfm::metrics {
namespace {

using test::body_of;
using test::Connection;
using test::DrippingClients;
using test::http_get;

class MetricsServer : public testing::Test {
 protected:
  std::atomic<int> asked_ = 0;
  const std::string whole_ = std::string(200'000, 'x');
  // More than the sockets of a connection hold.
  const std::string large_ = std::string(32'000'000, 'y');
  Server server_{"127.0.0.1:0",
                 {{"/metrics",
                   [this] {
                     ++asked_;
                     return Page{"text/plain", whole_};
                   }},
                  {"/large", [this] {
                     return Page{"text/plain", large_};
                   }}}};
};

TEST_F(MetricsServer, AnswersOnAPortOfTheSystemsChoice) {
  EXPECT_GT(server_.port(), 0);
  EXPECT_EQ(server_.address(), "127.0.0.1");
  const std::string answer = http_get(server_.port(), "/metrics");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer.substr(0, 200);
  EXPECT_NE(answer.find("Content-Type: text/plain\r\n"), std::string::npos);
  EXPECT_EQ(body_of(answer), whole_);
}

TEST_F(MetricsServer, HasNothingElse) {
  for (const char* path : {"/", "/metrics/x", "/etc/passwd", "/../../etc/passwd", "/CMakeLists.txt"})
    EXPECT_EQ(body_of(http_get(server_.port(), path)).find("root:"), std::string::npos) << path;
  EXPECT_EQ(http_get(server_.port(), "/").substr(8, 5), " 404 ");
  EXPECT_EQ(http_get(server_.port(), "/metrics/x").substr(8, 5), " 404 ");
  const Connection post(server_.port());
  post.send("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(post.read_all().starts_with("HTTP/1.1 405"));
  EXPECT_EQ(asked_, 0);
}

TEST_F(MetricsServer, OutlivesNonsense) {
  const std::vector<std::string> nonsense{
      "\r\n\r\n\r\n",
      std::string(1'000'000, 'A'),
      "GET /metrics HTTP/9.9\r\n\r\n",
      "GET  HTTP/1.1\r\n\r\n",
      "GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\nX: " + std::string(100'000, 'y') + "\r\n\r\n",
      std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),
      std::string(4096, '\0')};
  for (const std::string& bytes : nonsense) {
    const Connection connection(server_.port());
    connection.send(bytes);
  }
  EXPECT_EQ(body_of(http_get(server_.port(), "/metrics")), whole_);
}

// More of each kind than there are threads: some say nothing, some a byte and no more, some a byte a second, some do
// not read what they have asked for. They are cut off after their time, and the rest is served.
TEST_F(MetricsServer, ServesOthersBesideSlowClients) {
  std::vector<std::unique_ptr<Connection>> slow;
  for (int i = 0; i < 27; ++i) {
    slow.push_back(std::make_unique<Connection>(server_.port()));
    if (i % 3 == 1) slow.back()->send("G");
    if (i % 3 == 2) slow.back()->send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  const DrippingClients dripping(server_.port(), 9);
  EXPECT_EQ(body_of(http_get(server_.port(), "/metrics")), whole_);
  EXPECT_TRUE(body_of(http_get(server_.port(), "/large")) == large_) << "a page that is read has all of it";
}

TEST_F(MetricsServer, AnswersFiftyClientsAtOnce) {
  std::vector<std::string> answers(50);
  std::vector<std::thread> clients;
  for (std::string& answer : answers)
    clients.emplace_back([&] { answer = body_of(http_get(server_.port(), "/metrics")); });
  for (std::thread& client : clients) client.join();
  for (const std::string& answer : answers) EXPECT_EQ(answer, whole_);
  EXPECT_EQ(asked_, 50);
}

TEST_F(MetricsServer, SaysWhyItCannotListen) {
  const std::string taken = "127.0.0.1:" + std::to_string(server_.port());
  try {
    const Server second(taken, {});
    ADD_FAILURE() << "two listen on one port";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("cannot listen on " + taken), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("in use"), std::string::npos) << e.what();
  }
  for (const char* wrong : {"9464", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:99999", "127.0.0.1:1x",
                            "127.0.0.1:0,0.0.0.0:0", "127.0.0.1 :0"})
    EXPECT_THROW(address_and_port(wrong), Error) << wrong;
}

}  // namespace
}  // namespace cfm::metrics
