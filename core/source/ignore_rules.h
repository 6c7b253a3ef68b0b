#ifndef PITH_CORE_SOURCE_IGNORE_RULES_H_
#define PITH_CORE_SOURCE_IGNORE_RULES_H_

#include <string>
#include <string_view>
#include <vector>

namespace pith {

// The rules of one .gitignore file, as gitignore(5) and git's own matcher read
// them: byte by byte, with regard to case. Immutable.
class IgnoreRules {
 public:
  struct Rule {
    // As written, without white space at the end.
    std::string text;
    int line = 0;
    // Between slashes. One segment and not `anchored`: matches the name alone.
    std::vector<std::string> segments;
    bool anchored = false;
    bool negated = false;
    bool directory_only = false;
  };

  // Of the content of an ignore file; every content is valid.
  static IgnoreRules Parse(std::string_view content);

  bool empty() const { return rules_.empty(); }

  // The last rule that matches `path`, or null. `path` is relative to the
  // directory that holds the ignore file, without "." or "..", and names a
  // directory if `is_directory`. Parents of `path` are not considered. Time is
  // bounded by the product of the lengths of path and rule.
  const Rule* Match(std::string_view path, bool is_directory) const;

 private:
  std::vector<Rule> rules_;
};

}  // namespace pith

#endif  // PITH_CORE_SOURCE_IGNORE_RULES_H_
