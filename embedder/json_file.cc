#include "embedder/json_file.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/file.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"

namespace pith {
namespace {

using nlohmann::json;

// Vocabularies of a few hundred thousand entries stay far below this.
constexpr uint64_t kMaxJsonBytes = 256 << 20;

// A value as an error message shows it.
std::string Shown(const json* value) {
  if (value == nullptr) {
    return "missing";
  }
  if (value->is_structured()) {
    return absl::StrCat("an ", value->type_name());
  }
  std::string text = value->dump(-1, ' ', /*ensure_ascii=*/false,
                                 json::error_handler_t::replace);
  if (constexpr size_t kMaxShown = 80; text.size() > kMaxShown) {
    text.resize(kMaxShown);
    text += "...";
  }
  return text;
}

}  // namespace

absl::StatusOr<json> ReadJsonFile(const std::filesystem::path& path) {
  PITH_ASSIGN_OR_RETURN(std::string text, ReadFile(path, kMaxJsonBytes));
  json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(), " is not JSON"));
  }
  return document;
}

absl::StatusOr<json> ReadOptionalJsonFile(const std::filesystem::path& path) {
  absl::StatusOr<json> document = ReadJsonFile(path);
  if (absl::IsNotFound(document.status())) {
    return json::object();
  }
  return document;
}

absl::StatusOr<JsonFields> JsonFields::Of(const json& object,
                                          std::string where) {
  if (!object.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " is ", Shown(&object), ", not an object"));
  }
  return JsonFields(object, std::move(where));
}

const json* JsonFields::Find(std::string_view key) const {
  const auto field = object_->find(key);
  return field == object_->end() || field->is_null() ? nullptr : &*field;
}

absl::Status JsonFields::Unsupported(std::string_view key,
                                     std::string_view supported) const {
  return absl::InvalidArgumentError(
      absl::StrCat(where_, ": ", AbslView(key), " is ", Shown(Find(key)),
                   "; supported: ", AbslView(supported)));
}

absl::StatusOr<bool> JsonFields::Bool(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr || !value->is_boolean()) {
    return Unsupported(key, "true or false");
  }
  return value->get<bool>();
}

absl::StatusOr<bool> JsonFields::BoolOr(std::string_view key,
                                        bool absent) const {
  if (Find(key) == nullptr) {
    return absent;
  }
  return Bool(key);
}

absl::StatusOr<std::string> JsonFields::String(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr || !value->is_string()) {
    return Unsupported(key, "a string");
  }
  return value->get<std::string>();
}

absl::StatusOr<std::string> JsonFields::StringOr(
    std::string_view key, std::string_view absent) const {
  if (Find(key) == nullptr) {
    return std::string(absent);
  }
  return String(key);
}

absl::StatusOr<int> JsonFields::Integer(std::string_view key, int min,
                                        int max) const {
  const json* value = Find(key);
  // get<int64_t> turns an unsigned value beyond its range negative.
  const bool fits = value != nullptr && value->is_number_integer() &&
                    !(value->is_number_unsigned() &&
                      value->get<uint64_t>() > uint64_t{INT64_MAX}) &&
                    value->get<int64_t>() >= min &&
                    value->get<int64_t>() <= max;
  if (!fits) {
    return Unsupported(key, absl::StrCat("an integer from ", min, " to ", max));
  }
  return value->get<int>();
}

absl::StatusOr<int> JsonFields::IntegerOr(std::string_view key, int min,
                                          int max, int absent) const {
  if (Find(key) == nullptr) {
    return absent;
  }
  return Integer(key, min, max);
}

absl::StatusOr<double> JsonFields::Number(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr || !value->is_number()) {
    return Unsupported(key, "a number");
  }
  return value->get<double>();
}

absl::StatusOr<JsonFields> JsonFields::Object(std::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr || !value->is_object()) {
    return Unsupported(key, "an object");
  }
  return JsonFields(*value, absl::StrCat(where_, ": ", AbslView(key)));
}

absl::StatusOr<std::vector<JsonFields>> JsonFields::Objects(
    std::string_view key) const {
  std::vector<JsonFields> objects;
  const json* value = Find(key);
  if (value == nullptr) {
    return objects;
  }
  if (!value->is_array()) {
    return Unsupported(key, "an array");
  }
  for (const json& object : *value) {
    PITH_ASSIGN_OR_RETURN(
        JsonFields fields,
        Of(object, absl::StrCat(where_, ": ", AbslView(key))));
    objects.push_back(std::move(fields));
  }
  return objects;
}

}  // namespace pith
