#include "core/base/host_port.h"

#include <string>

#include "gtest/gtest.h"

namespace pith {
namespace {

TEST(HostPort, ReadsNamesAddressesAndPorts) {
  const auto expect = [](const std::string& text, const std::string& host,
                         std::optional<int> port, bool is_address) {
    SCOPED_TRACE(text);
    const std::optional<HostPort> parsed = ParseHostPort(text);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->host, host);
    EXPECT_EQ(parsed->port, port);
    EXPECT_EQ(parsed->is_address(), is_address);
  };
  expect("gpu-1.example", "gpu-1.example", std::nullopt, false);
  expect("gpu-1.example:7070", "gpu-1.example", 7070, false);
  expect("10.0.0.5:0", "10.0.0.5", 0, true);
  expect("[::1]:65535", "::1", 65535, true);
  expect("[fe80::1]", "fe80::1", std::nullopt, true);
}

TEST(HostPort, RefusesEverythingElse) {
  for (const std::string text :
       {"", ":80", "a:", "a:b", "a:65536", "a:+1", "a: 1", "a:1 ", "a b:1",
        "::1:80", "[::1", "[]:80", "[::1]80", "[::1]x:80", "[name]:80",
        "unix:/tmp/a", "http://a:1", "a:000001"}) {
    EXPECT_FALSE(ParseHostPort(text)) << text;
  }
}

TEST(HostPort, KnowsWhatStaysOnThisMachine) {
  for (const std::string text :
       {"127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "localhost:1"}) {
    EXPECT_TRUE(ParseHostPort(text)->is_loopback()) << text;
  }
  for (const std::string text :
       {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "128.0.0.1:1", "127.1:1",
        "localhost.example:1", "127.0.0.1.example:1", "[::ffff:10.0.0.1]:1"}) {
    EXPECT_FALSE(ParseHostPort(text)->is_loopback()) << text;
  }
}

}  // namespace
}  // namespace pith
