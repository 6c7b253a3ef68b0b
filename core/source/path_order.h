#ifndef PITH_CORE_SOURCE_PATH_ORDER_H_
#define PITH_CORE_SOURCE_PATH_ORDER_H_

#include <string>
#include <string_view>

namespace pith {

// What all paths below `directory`, and no others, begin with. In byte order
// they follow each other; `directory` itself comes earlier, but not next to
// them.
inline std::string PrefixBelow(std::string_view directory) {
  std::string prefix(directory);
  if (!prefix.ends_with('/')) {
    prefix += '/';
  }
  return prefix;
}

// The path of `name` in `directory`.
inline std::string JoinPath(std::string_view directory, std::string_view name) {
  return PrefixBelow(directory).append(name);
}

// Whether `path` is `top` or lies below it.
inline bool IsAtOrBelow(std::string_view path, std::string_view top) {
  return path.starts_with(top) &&
         (path.size() == top.size() || top.ends_with('/') ||
          path[top.size()] == '/');
}

}  // namespace pith

#endif  // PITH_CORE_SOURCE_PATH_ORDER_H_
