#include "embedder/remote/wire_format.h"

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "nlohmann/json.hpp"

#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "embedder/json_file.h"
#include "embedder/remote/remote_backend.h"

namespace pith {
namespace {

using nlohmann::json;

std::string Dump(const json& value) {
  // Bytes that are not UTF-8 become U+FFFD; the default would throw.
  return value.dump(-1, ' ', /*ensure_ascii=*/false,
                    json::error_handler_t::replace);
}

absl::Status Malformed(const RemoteModelSpec& spec, absl::string_view fault) {
  return absl::UnavailableError(absl::StrCat(spec.url, " does not answer as ",
                                             AbslView(RemoteApiName(spec.api)),
                                             " does: ", fault));
}

absl::Status ReadNumbers(const RemoteModelSpec& spec, const json& numbers,
                         std::span<float> row) {
  if (numbers.size() != row.size()) {
    return WrongDimension(spec, numbers.size());
  }
  for (size_t i = 0; i < row.size(); ++i) {
    // JSON has no NaN; servers write null.
    row[i] = numbers[i].is_number() ? numbers[i].get<float>()
                                    : std::numeric_limits<float>::quiet_NaN();
  }
  return absl::OkStatus();
}

// Floats in little-endian order.
absl::Status ReadBase64(const RemoteModelSpec& spec, const std::string& text,
                        std::span<float> row) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes;
  if (!absl::Base64Unescape(text, &bytes) ||
      bytes.size() % sizeof(float) != 0) {
    return Malformed(spec, "a vector is no base64 of floats");
  }
  if (bytes.size() != row.size_bytes()) {
    return WrongDimension(spec, bytes.size() / sizeof(float));
  }
  std::memcpy(row.data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::Status ReadVector(const RemoteModelSpec& spec, const json& vector,
                        std::span<float> row) {
  if (vector.is_array()) {
    return ReadNumbers(spec, vector, row);
  }
  if (spec.base64 && vector.is_string()) {
    return ReadBase64(spec, vector.get_ref<const std::string&>(), row);
  }
  return Malformed(spec, "a vector is no array of numbers");
}

absl::Status CheckCount(const RemoteModelSpec& spec, const json* vectors,
                        size_t inputs) {
  if (vectors == nullptr || !vectors->is_array()) {
    return Malformed(spec, "there is no array of vectors");
  }
  if (vectors->size() != inputs) {
    return Malformed(spec, absl::StrCat(vectors->size(), " vectors for ",
                                        inputs, " inputs"));
  }
  return absl::OkStatus();
}

// {"data": [{"index": 0, "embedding": [...]}, ...]}, in any order.
absl::StatusOr<Matrix> ReadOpenAi(const RemoteModelSpec& spec, size_t inputs,
                                  const json& document) {
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(document, spec.url));
  const json* const data = fields.Find("data");
  PITH_RETURN_IF_ERROR(CheckCount(spec, data, inputs));
  Matrix vectors(inputs, static_cast<size_t>(spec.dimension));
  std::vector<bool> seen(inputs);
  for (const json& item : *data) {
    const auto index = item.is_object() ? item.find("index") : item.end();
    const auto vector = item.is_object() ? item.find("embedding") : item.end();
    if (index == item.end() || vector == item.end()) {
      return Malformed(spec, "an item has no index and embedding");
    }
    if (!index->is_number_unsigned() || index->get<uint64_t>() >= inputs ||
        seen[index->get<size_t>()]) {
      return Malformed(spec,
                       absl::StrCat("index ", Dump(*index).substr(0, 40),
                                    " is repeated or not below ", inputs));
    }
    seen[index->get<size_t>()] = true;
    PITH_RETURN_IF_ERROR(
        ReadVector(spec, *vector, vectors.row(index->get<size_t>())));
  }
  return vectors;
}

// An array of vectors, in the order of the inputs.
absl::StatusOr<Matrix> ReadList(const RemoteModelSpec& spec, size_t inputs,
                                const json* list) {
  PITH_RETURN_IF_ERROR(CheckCount(spec, list, inputs));
  Matrix vectors(inputs, static_cast<size_t>(spec.dimension));
  for (size_t i = 0; i < inputs; ++i) {
    PITH_RETURN_IF_ERROR(ReadVector(spec, (*list)[i], vectors.row(i)));
  }
  return vectors;
}

}  // namespace

std::string EmbedUrl(const RemoteModelSpec& spec) {
  switch (spec.api) {
    case RemoteApi::kOpenAi:
      return spec.url + "/embeddings";
    case RemoteApi::kOllama:
      return spec.url + "/api/embed";
    case RemoteApi::kTeiHttp:
      return spec.url + "/embed";
    case RemoteApi::kTeiGrpc:
      break;
  }
  LOG(FATAL) << "not an API over HTTP";
}

std::string EmbedRequestBody(const RemoteModelSpec& spec,
                             std::span<const std::string> inputs,
                             bool truncate) {
  const std::vector<std::string> texts(inputs.begin(), inputs.end());
  json body = json::object();
  switch (spec.api) {
    case RemoteApi::kOpenAi:
      body["model"] = spec.model;
      body["input"] = texts;
      body["encoding_format"] = spec.base64 ? "base64" : "float";
      break;
    case RemoteApi::kOllama:
      body["model"] = spec.model;
      body["input"] = texts;
      body["truncate"] = truncate;
      break;
    case RemoteApi::kTeiHttp:
      body["inputs"] = texts;
      body["truncate"] = truncate;
      body["normalize"] = true;
      break;
    case RemoteApi::kTeiGrpc:
      LOG(FATAL) << "not an API over HTTP";
  }
  if (spec.request_dimension) {
    body["dimensions"] = spec.dimension;
  }
  return Dump(body);
}

size_t MaxEmbedResponseBytes(const RemoteModelSpec& spec, size_t inputs) {
  // A double in full has 24 characters; the rest is for white space, where a
  // server indents its JSON. Beside the vectors stands little.
  constexpr size_t kBytesPerValue = 64;
  constexpr size_t kOther = 64 << 10;
  return kOther + inputs * (kOther + static_cast<size_t>(spec.dimension) *
                                         kBytesPerValue);
}

absl::StatusOr<Matrix> ParseEmbedResponse(const RemoteModelSpec& spec,
                                          size_t inputs,
                                          std::string_view body) {
  const json document = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) {
    return Malformed(spec, "no JSON");
  }
  switch (spec.api) {
    case RemoteApi::kOpenAi:
      if (!document.is_object()) {
        return Malformed(spec, "no object");
      }
      return ReadOpenAi(spec, inputs, document);
    case RemoteApi::kOllama: {
      if (!document.is_object()) {
        return Malformed(spec, "no object");
      }
      const auto list = document.find("embeddings");
      return ReadList(spec, inputs, list == document.end() ? nullptr : &*list);
    }
    case RemoteApi::kTeiHttp:
      return ReadList(spec, inputs, &document);
    case RemoteApi::kTeiGrpc:
      break;
  }
  LOG(FATAL) << "not an API over HTTP";
}

std::string ErrorInBody(std::string_view body) {
  const json document = json::parse(body, nullptr, /*allow_exceptions=*/false);
  // {"error": {"message": "..."}}, {"error": "..."} or {"message": "..."}.
  const json* found = &document;
  for (const char* key : {"error", "message"}) {
    if (found->is_object() && found->contains(key)) {
      found = &(*found)[key];
    }
  }
  return found->is_string() ? found->get<std::string>() : std::string(body);
}

absl::Status CheckTeiInfo(const RemoteModelSpec& spec, std::string_view body) {
  const json document = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) {
    return Malformed(spec, "its /info is no object");
  }
  PITH_ASSIGN_OR_RETURN(
      const JsonFields fields,
      JsonFields::Of(document, absl::StrCat(spec.url, "/info")));
  const auto check = [&](const char* theirs, const char* ours,
                         int value) -> absl::Status {
    if (fields.Find(theirs) == nullptr) {
      return absl::OkStatus();
    }
    if (!fields.Integer(theirs, value, std::numeric_limits<int>::max()).ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat((spec.directory / kRemoteModelFile).string(), ": ", ours,
                       " is ", value, ", the server's ", theirs, " is ",
                       Dump(*fields.Find(theirs)).substr(0, 40)));
    }
    return absl::OkStatus();
  };
  if (const json* type = fields.Find("model_type");
      type != nullptr && type->is_object() && !type->contains("embedding")) {
    return absl::FailedPreconditionError(
        absl::StrCat(spec.url, " runs no embedding model"));
  }
  PITH_RETURN_IF_ERROR(
      check("max_input_length", "max_tokens", spec.max_tokens));
  return check("max_client_batch_size", "max_batch_texts",
               spec.max_batch_texts);
}

}  // namespace pith
