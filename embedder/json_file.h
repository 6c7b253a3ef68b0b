#ifndef PITH_EMBEDDER_JSON_FILE_H_
#define PITH_EMBEDDER_JSON_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace pith {

// The JSON document in the file at `path`. ReadFile's errors, or
// kInvalidArgument naming the file if it is no JSON.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::filesystem::path& path);

// The same for a file that need not be there: an empty object if it is not.
absl::StatusOr<nlohmann::json> ReadOptionalJsonFile(
    const std::filesystem::path& path);

// The fields of one JSON object, read with their types checked. Errors are
// kInvalidArgument and name `where`, the field, its value and what is accepted.
// A field that is null counts as absent. The object must outlive this.
class JsonFields {
 public:
  // `where` begins error messages: a file, or a file and the path to the
  // object.
  static absl::StatusOr<JsonFields> Of(const nlohmann::json& object,
                                       std::string where);

  // The value, or null if absent.
  const nlohmann::json* Find(std::string_view key) const;

  absl::StatusOr<bool> Bool(std::string_view key) const;
  absl::StatusOr<bool> BoolOr(std::string_view key, bool absent) const;
  absl::StatusOr<std::string> String(std::string_view key) const;
  absl::StatusOr<std::string> StringOr(std::string_view key,
                                       std::string_view absent) const;
  // An integer within [min, max].
  absl::StatusOr<int> Integer(std::string_view key, int min, int max) const;
  absl::StatusOr<int> IntegerOr(std::string_view key, int min, int max,
                                int absent) const;
  absl::StatusOr<double> Number(std::string_view key) const;
  absl::StatusOr<JsonFields> Object(std::string_view key) const;
  // Those of an array; none if it is absent.
  absl::StatusOr<std::vector<JsonFields>> Objects(std::string_view key) const;
  // `value` is what the field holds: an object or array is shown by its type.
  absl::Status Unsupported(std::string_view key,
                           std::string_view supported) const;

  const std::string& where() const { return where_; }

 private:
  JsonFields(const nlohmann::json& object, std::string where)
      : object_(&object), where_(std::move(where)) {}

  const nlohmann::json* object_;
  std::string where_;
};

}  // namespace pith

#endif  // PITH_EMBEDDER_JSON_FILE_H_
