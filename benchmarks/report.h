#ifndef PITH_BENCHMARKS_REPORT_H_
#define PITH_BENCHMARKS_REPORT_H_

#include <string_view>
#include <vector>

#include "nlohmann/json.hpp"

namespace pith {

// The one object that every benchmark prints with --json: "benchmark", "commit"
// (of the source that was built, with "-dirty" if it had changes; "unknown"
// outside a git checkout), "machine" ("cpu", "cores") and "rows".
nlohmann::ordered_json Report(std::string_view benchmark,
                              std::vector<nlohmann::ordered_json> rows);

}  // namespace pith

#endif  // PITH_BENCHMARKS_REPORT_H_
