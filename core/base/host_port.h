#ifndef PITH_CORE_BASE_HOST_PORT_H_
#define PITH_CORE_BASE_HOST_PORT_H_

#include <optional>
#include <string>
#include <string_view>

namespace pith {

// Where a server is: "name", "1.2.3.4" or "[::1]", and maybe ":port".
struct HostPort {
  // An IPv6 address stands without its brackets.
  std::string host;
  std::optional<int> port;

  // Whether `host` is an address, and not a name that stands for one.
  bool is_address() const;
  // Whether what is sent there stays on this machine: an address of the
  // loopback interface, or "localhost".
  bool is_loopback() const;
};

// Nullopt if `text` is none. Ports are 0 to 65535.
std::optional<HostPort> ParseHostPort(std::string_view text);

}  // namespace pith

#endif  // PITH_CORE_BASE_HOST_PORT_H_
