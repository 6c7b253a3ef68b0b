#include "embedder/remote/remote_model_spec.h"

#include <algorithm>
#include <array>
#include <optional>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

#include "core/base/hash.h"
#include "core/base/host_port.h"
#include "core/base/status_macros.h"
#include "core/base/string_view.h"
#include "embedder/json_file.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kMaxDimension = 65'536;
constexpr int kMinTokens = 32;
constexpr int kMaxTokens = 1'000'000;
// OpenAI's limit of one request, the largest that is known.
constexpr int kMaxBatchTexts = 2'048;
constexpr int kMaxBatchTokens = 10'000'000;
constexpr int kMaxConcurrentRequests = 256;
constexpr int kMaxTimeoutSeconds = 3'600;

struct ApiFields {
  RemoteApi api;
  std::string_view name;
  // Fields that only some APIs have.
  bool has_model;
  bool has_encoding_format;
};
constexpr std::array kApis = {
    ApiFields{RemoteApi::kOpenAi, "openai", true, true},
    ApiFields{RemoteApi::kOllama, "ollama", true, false},
    ApiFields{RemoteApi::kTeiHttp, "tei-http", false, false},
    ApiFields{RemoteApi::kTeiGrpc, "tei-grpc", false, false},
};

absl::Status CheckKeys(const json& document, const JsonFields& fields,
                       const ApiFields& api) {
  std::vector<std::string_view> known = {
      "backend",           "url",
      "dimension",         "max_tokens",
      "query_prompt",      "passage_prompt",
      "api_key_env",       "api_key_file",
      "request_dimension", "max_batch_texts",
      "max_batch_tokens",  "max_concurrent_requests",
      "timeout_seconds",   "ca_file"};
  if (api.has_model) {
    known.push_back("model");
  }
  if (api.has_encoding_format) {
    known.push_back("encoding_format");
  }
  for (const auto& [key, value] : document.items()) {
    if (std::ranges::find(known, key) == known.end()) {
      // Not the value: it may be a key that was put here by mistake.
      std::ranges::sort(known);
      return absl::InvalidArgumentError(absl::StrCat(
          fields.where(), ": unknown field \"", key, "\" for backend ",
          AbslView(api.name), "; known: ",
          absl::StrJoin(known, ", ", [](std::string* out, auto name) {
            out->append(name);
          })));
    }
  }
  return absl::OkStatus();
}

bool IsHostAndPort(std::string_view text) {
  const std::optional<HostPort> parsed = ParseHostPort(text);
  return parsed && parsed->port != 0;
}

absl::StatusOr<std::string> ReadUrl(const JsonFields& fields, RemoteApi api) {
  PITH_ASSIGN_OR_RETURN(std::string url, fields.String("url"));
  while (url.ends_with('/')) {
    url.pop_back();
  }
  std::string_view rest = url;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    rest = {};
  }
  const size_t slash = rest.find('/');
  const std::string_view path =
      slash == std::string_view::npos ? "" : rest.substr(slash);
  const bool sound =
      IsHostAndPort(rest.substr(0, slash)) &&
      (path.empty() || api != RemoteApi::kTeiGrpc) &&
      std::ranges::all_of(path, [](char c) {
        return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '?' &&
               c != '#' && c != '@' && c != '\\';
      });
  if (!sound) {
    // The value may hold a password, which has no place in a message.
    return absl::InvalidArgumentError(absl::StrCat(
        fields.where(), ": url is not accepted; supported: http:// or ",
        "https://, a host, a port",
        api == RemoteApi::kTeiGrpc ? "" : ", a path",
        "; no user or password, no query, no fragment"));
  }
  return url;
}

absl::StatusOr<ApiKeySource> ReadApiKeySource(const JsonFields& fields,
                                              const fs::path& directory) {
  ApiKeySource source;
  PITH_ASSIGN_OR_RETURN(source.environment_variable,
                        fields.StringOr("api_key_env", ""));
  PITH_ASSIGN_OR_RETURN(const std::string file,
                        fields.StringOr("api_key_file", ""));
  const std::string& variable = source.environment_variable;
  // Also so that a key that stands here by mistake is not taken for a name.
  if (!std::ranges::all_of(variable, [](char c) {
        return absl::ascii_isupper(static_cast<unsigned char>(c)) ||
               absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '_';
      })) {
    return absl::InvalidArgumentError(absl::StrCat(
        fields.where(),
        ": api_key_env is not the name of a variable, in upper case"));
  }
  if (!variable.empty() && !file.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        fields.where(), ": api_key_env and api_key_file are both set"));
  }
  if (!file.empty()) {
    source.file = directory / file;
  }
  return source;
}

}  // namespace

std::string_view RemoteApiName(RemoteApi api) {
  return std::ranges::find(kApis, api, &ApiFields::api)->name;
}

std::string ApiKeySource::Shown() const {
  return environment_variable.empty() ? file.string()
                                      : absl::StrCat("$", environment_variable);
}

bool IsRemoteModel(const fs::path& directory) {
  std::error_code error;
  return fs::exists(directory / kRemoteModelFile, error);
}

absl::StatusOr<RemoteModelSpec> LoadRemoteModelSpec(const fs::path& directory) {
  const fs::path path = directory / kRemoteModelFile;
  PITH_ASSIGN_OR_RETURN(const json document, ReadJsonFile(path));
  PITH_ASSIGN_OR_RETURN(const JsonFields fields,
                        JsonFields::Of(document, path.string()));
  PITH_ASSIGN_OR_RETURN(const std::string backend, fields.String("backend"));
  const auto api = std::ranges::find(kApis, backend, &ApiFields::name);
  if (api == kApis.end()) {
    return fields.Unsupported("backend", "openai, ollama, tei-http, tei-grpc");
  }
  PITH_RETURN_IF_ERROR(CheckKeys(document, fields, *api));
  std::error_code error;
  if (fs::exists(directory / "model.safetensors", error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path.string(),
                     ": the directory has model.safetensors as well; a model "
                     "is run here or by a server"));
  }

  RemoteModelSpec spec;
  spec.api = api->api;
  spec.directory = directory;
  const fs::path named = directory.has_filename() ? directory.lexically_normal()
                                                  : directory.parent_path();
  spec.name = named.filename().string();
  PITH_ASSIGN_OR_RETURN(spec.url, ReadUrl(fields, spec.api));
  if (api->has_model) {
    PITH_ASSIGN_OR_RETURN(spec.model, fields.String("model"));
    if (spec.model.empty()) {
      return fields.Unsupported("model", "the server's name of the model");
    }
  }
  PITH_ASSIGN_OR_RETURN(spec.dimension,
                        fields.Integer("dimension", 1, kMaxDimension));
  PITH_ASSIGN_OR_RETURN(spec.max_tokens,
                        fields.Integer("max_tokens", kMinTokens, kMaxTokens));
  PITH_ASSIGN_OR_RETURN(spec.query_prompt, fields.StringOr("query_prompt", ""));
  PITH_ASSIGN_OR_RETURN(spec.passage_prompt,
                        fields.StringOr("passage_prompt", ""));
  PITH_ASSIGN_OR_RETURN(spec.api_key, ReadApiKeySource(fields, directory));
  PITH_ASSIGN_OR_RETURN(spec.request_dimension,
                        fields.BoolOr("request_dimension", false));
  PITH_ASSIGN_OR_RETURN(const std::string encoding,
                        fields.StringOr("encoding_format", "float"));
  if (encoding != "float" && encoding != "base64") {
    return fields.Unsupported("encoding_format", "float, base64");
  }
  spec.base64 = encoding == "base64";
  PITH_ASSIGN_OR_RETURN(spec.max_batch_texts,
                        fields.IntegerOr("max_batch_texts", 1, kMaxBatchTexts,
                                         spec.max_batch_texts));
  PITH_ASSIGN_OR_RETURN(spec.max_batch_tokens,
                        fields.IntegerOr("max_batch_tokens", 1, kMaxBatchTokens,
                                         spec.max_batch_tokens));
  PITH_ASSIGN_OR_RETURN(
      spec.max_concurrent_requests,
      fields.IntegerOr("max_concurrent_requests", 1, kMaxConcurrentRequests,
                       spec.max_concurrent_requests));
  PITH_ASSIGN_OR_RETURN(
      const int timeout_seconds,
      fields.IntegerOr("timeout_seconds", 1, kMaxTimeoutSeconds, 60));
  spec.timeout = absl::Seconds(timeout_seconds);
  PITH_ASSIGN_OR_RETURN(const std::string ca_file,
                        fields.StringOr("ca_file", ""));
  if (!ca_file.empty()) {
    if (!absl::StartsWith(spec.url, "https://")) {
      return fields.Unsupported("ca_file", "nothing for a url with http://");
    }
    spec.ca_file = directory / ca_file;
  }
  return spec;
}

std::string RemoteModelFingerprint(const RemoteModelSpec& spec) {
  Sha256 hash;
  for (const std::string& part :
       {std::string("remote"), spec.model, absl::StrCat(spec.dimension),
        absl::StrCat(spec.max_tokens), spec.query_prompt,
        spec.passage_prompt}) {
    hash.Update(absl::StrCat(part.size(), ":", part));
  }
  return ToHex(hash.Finish());
}

}  // namespace pith
