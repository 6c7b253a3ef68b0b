#ifndef PITH_CORE_SOURCE_CHANGE_HINTS_H_
#define PITH_CORE_SOURCE_CHANGE_HINTS_H_

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace pith {

// When to look at paths that are said to have changed. Programs write a file in
// several steps, some all the time: a path is due once it has been quiet for a
// while, or has waited for long; then it rests, twice as long each time that it
// changed while it did. Bounded: more paths than can be kept become one hint,
// that everything may have changed. Not thread-safe.
class ChangeHints {
 public:
  struct Limits {
    absl::Duration quiet = absl::Milliseconds(300);
    absl::Duration max_wait = absl::Seconds(5);
    absl::Duration min_rest = absl::Seconds(1);
    absl::Duration max_rest = absl::Minutes(1);
    size_t max_paths = 1024;
  };

  explicit ChangeHints(const Limits& limits) : limits_(limits) {}

  void Add(const std::string& path, absl::Time now);
  void AddEverything(absl::Time now);

  // When Take will return something; infinite if nothing waits.
  absl::Time DueTime() const;

  struct Due {
    bool everything = false;
    // None lies below another; empty if everything is due.
    std::vector<std::string> paths;
  };
  // Takes what is due. If everything is, no path waits any more.
  Due Take(absl::Time now);

  // Paths that wait; one for everything.
  size_t waiting() const;

 private:
  struct Hint {
    // The first and the last one that was not yet taken.
    std::optional<absl::Time> first;
    absl::Time last;
    // Not due before. Forgotten then, if nothing was heard.
    absl::Time rests_until = absl::InfinitePast();
    absl::Duration rest = absl::ZeroDuration();
  };

  void Heard(Hint& hint, absl::Time now) const;
  absl::Time DueTimeOf(const Hint& hint) const;
  // It rests from now on.
  void TakeHint(Hint& hint, absl::Time now) const;
  void Forget(absl::Time now);

  const Limits limits_;
  std::map<std::string, Hint> paths_;
  Hint everything_;
};

}  // namespace pith

#endif  // PITH_CORE_SOURCE_CHANGE_HINTS_H_
