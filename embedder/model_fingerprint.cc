#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "nlohmann/json.hpp"

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/status_macros.h"
#include "embedder/json_file.h"
#include "embedder/model_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kBufferBytes = 1 << 20;

// The cache: {"/models/a/model.safetensors": {"size": 1, "mtime_ns": 2,
// "sha256": "..."}}.
class FileHashes {
 public:
  explicit FileHashes(const fs::path& cache_file) : cache_file_(cache_file) {
    if (absl::StatusOr<json> cached = ReadJsonFile(cache_file);
        cached.ok() && cached->is_object()) {
      cache_ = *std::move(cached);
    }
  }

  // Hex SHA-256 of the file at `path`.
  absl::StatusOr<std::string> Hash(const fs::path& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
      return ErrnoStatus(errno, "open", path);
    }
    struct stat status;
    if (::fstat(fd.get(), &status) != 0) {
      return ErrnoStatus(errno, "stat", path);
    }
    json entry = {{"size", status.st_size},
                  {"mtime_ns", status.st_mtim.tv_sec * int64_t{1'000'000'000} +
                                   status.st_mtim.tv_nsec}};
    std::error_code error;
    const fs::path absolute = fs::absolute(path, error);
    if (error) {
      return ErrnoStatus(error.value(), "find the absolute path of", path);
    }
    const std::string key = absolute.lexically_normal().string();
    if (const auto known = cache_.find(key);
        known != cache_.end() && known->is_object() &&
        known->contains("sha256") && (*known)["sha256"].is_string()) {
      entry["sha256"] = (*known)["sha256"];
      if (*known == entry) {
        return entry["sha256"].get<std::string>();
      }
    }
    Sha256 hash;
    std::string buffer(kBufferBytes, '\0');
    while (true) {
      const ssize_t bytes = ::read(fd.get(), buffer.data(), buffer.size());
      if (bytes < 0 && errno == EINTR) {
        continue;
      }
      if (bytes < 0) {
        return ErrnoStatus(errno, "read", path);
      }
      if (bytes == 0) {
        break;
      }
      hash.Update({buffer.data(), static_cast<size_t>(bytes)});
    }
    std::string digest = ToHex(hash.Finish());
    entry["sha256"] = digest;
    cache_[key] = std::move(entry);
    changed_ = true;
    return digest;
  }

  void Save() const {
    if (!changed_ || cache_file_.empty()) {
      return;
    }
    const std::string text = cache_.dump(1, ' ', /*ensure_ascii=*/false,
                                         json::error_handler_t::replace);
    if (absl::Status saved = WriteFileAtomically(cache_file_, text);
        !saved.ok()) {
      LOG(WARNING) << "model fingerprints are not cached: " << saved;
    }
  }

 private:
  const fs::path cache_file_;
  json cache_ = json::object();
  bool changed_ = false;
};

}  // namespace

absl::StatusOr<std::string> ModelFingerprint(const ModelSpec& spec,
                                             const fs::path& cache_file) {
  std::vector<const char*> files = {"model.safetensors"};
  std::error_code error;
  if (fs::exists(spec.directory / "tokenizer.json", error)) {
    files.push_back("tokenizer.json");
  } else {
    files.push_back("vocab.txt");
    if (fs::exists(spec.directory / "tokenizer_config.json", error)) {
      files.push_back("tokenizer_config.json");
    }
  }
  FileHashes hashes(cache_file);
  json content;
  for (const char* file : files) {
    PITH_ASSIGN_OR_RETURN(content["files"][file],
                          hashes.Hash(spec.directory / file));
  }
  hashes.Save();
  const EncoderConfig& encoder = spec.encoder;
  // vocab_size, layers and so on follow from the weights, these do not.
  content["heads"] = encoder.heads;
  content["layers"] = encoder.layers;
  content["layer_norm_epsilon"] = encoder.layer_norm_epsilon;
  content["activation"] = static_cast<int>(encoder.activation);
  // Absent where it is 0, so that BERT's fingerprints stay what they were.
  if (encoder.position_offset != 0) {
    content["position_offset"] = encoder.position_offset;
  }
  content["pooling"] = static_cast<int>(spec.pooling);
  content["max_tokens"] = spec.max_tokens;
  content["query_prompt"] = spec.query_prompt;
  content["passage_prompt"] = spec.passage_prompt;
  Sha256 hash;
  // Keys of a json object are in order, so equal content is equal text.
  hash.Update(content.dump());
  return ToHex(hash.Finish());
}

}  // namespace pith
