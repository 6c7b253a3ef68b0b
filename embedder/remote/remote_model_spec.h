#ifndef PITH_EMBEDDER_REMOTE_REMOTE_MODEL_SPEC_H_
#define PITH_EMBEDDER_REMOTE_REMOTE_MODEL_SPEC_H_

#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace pith {

enum class RemoteApi {
  kOpenAi,   // POST URL/embeddings
  kOllama,   // POST URL/api/embed
  kTeiHttp,  // POST URL/embed of text-embeddings-inference
  kTeiGrpc,  // tei.v1.Embed/EmbedStream
};

// As in remote.json: openai, ollama, tei-http, tei-grpc.
std::string_view RemoteApiName(RemoteApi api);

// Where a key is read from, whenever it is needed; the key itself stands in no
// spec. At most one of the two is set.
struct ApiKeySource {
  std::string environment_variable;
  std::filesystem::path file;

  bool empty() const { return environment_variable.empty() && file.empty(); }
  // "$NAME" or the file's path, for messages.
  std::string Shown() const;
};

// A model that a server runs: a directory with remote.json (docs/models.md has
// its fields). Servers say little about themselves, so what pith has to know of
// the model stands there.
struct RemoteModelSpec {
  // The directory's name.
  std::string name;
  std::filesystem::path directory;
  RemoteApi api = RemoteApi::kOpenAi;
  // http:// or https://, a host, maybe a port and a path; no slash at the end,
  // no user, query or fragment.
  std::string url;
  // What the server calls the model; empty for text-embeddings-inference, which
  // has one.
  std::string model;
  int dimension = 0;
  // Tokens of one input, special tokens included.
  int max_tokens = 0;
  std::string query_prompt;
  std::string passage_prompt;
  ApiKeySource api_key;
  // Whether the server is asked for `dimension`, for models that shorten their
  // vectors on request.
  bool request_dimension = false;
  // OpenAI's encoding_format: base64 instead of numbers in decimal.
  bool base64 = false;
  int max_batch_texts = 32;
  int max_batch_tokens = 100'000;
  int max_concurrent_requests = 4;
  absl::Duration timeout = absl::Seconds(60);
  // Certificates to trust instead of the system's.
  std::filesystem::path ca_file;
};

// The file that makes a directory a remote model.
inline constexpr char kRemoteModelFile[] = "remote.json";

// Whether `directory` has kRemoteModelFile.
bool IsRemoteModel(const std::filesystem::path& directory);

// Reads and checks kRemoteModelFile. kNotFound, or kInvalidArgument naming the
// file, the field, its value and what is accepted; also for a field that is
// unknown or means nothing for the API, and for a directory that has weights as
// well: what came with a download must not send texts or keys anywhere.
absl::StatusOr<RemoteModelSpec> LoadRemoteModelSpec(
    const std::filesystem::path& directory);

// Hex SHA-256 over what is known here to change the meaning of a vector: model,
// dimension, maximum tokens, prompts; not the server, which may move.
std::string RemoteModelFingerprint(const RemoteModelSpec& spec);

}  // namespace pith

#endif  // PITH_EMBEDDER_REMOTE_REMOTE_MODEL_SPEC_H_
