#include "core/base/host_port.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

#include "core/base/string_view.h"

namespace pith {
namespace {

constexpr uint32_t kLoopbackNet = 127;

bool IsNameCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
         c == '-' || c == '_';
}

bool IsIpv6(const std::string& host, in6_addr& address) {
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool IsIpv4(const std::string& host, in_addr& address) {
  return inet_pton(AF_INET, host.c_str(), &address) == 1;
}

}  // namespace

bool HostPort::is_address() const {
  in_addr v4;
  in6_addr v6;
  return IsIpv4(host, v4) || IsIpv6(host, v6);
}

bool HostPort::is_loopback() const {
  in_addr v4;
  in6_addr v6;
  return host == "localhost" ||
         (IsIpv4(host, v4) && ntohl(v4.s_addr) >> 24 == kLoopbackNet) ||
         (IsIpv6(host, v6) && IN6_IS_ADDR_LOOPBACK(&v6) != 0);
}

std::optional<HostPort> ParseHostPort(std::string_view text) {
  HostPort parsed;
  size_t end = std::min(text.find(':'), text.size());
  if (text.starts_with('[')) {
    end = text.find(']');
    if (end == std::string_view::npos) {
      return std::nullopt;
    }
    parsed.host = text.substr(1, end - 1);
    ++end;
    in6_addr address;
    if (!IsIpv6(parsed.host, address)) {
      return std::nullopt;
    }
  } else {
    parsed.host = text.substr(0, end);
    if (parsed.host.empty() ||
        !std::ranges::all_of(parsed.host, IsNameCharacter)) {
      return std::nullopt;
    }
  }
  if (end == text.size()) {
    return parsed;
  }
  const std::string_view port = text.substr(end + 1);
  int number = 0;
  // SimpleAtoi takes white space and signs, too.
  if (text[end] != ':' || port.empty() || port.size() > 5 ||
      !std::ranges::all_of(
          port, [](unsigned char c) { return absl::ascii_isdigit(c); }) ||
      !absl::SimpleAtoi(AbslView(port), &number) || number > 65'535) {
    return std::nullopt;
  }
  parsed.port = number;
  return parsed;
}

}  // namespace pith
