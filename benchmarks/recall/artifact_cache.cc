#include "benchmarks/recall/artifact_cache.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/base/status_macros.h"

namespace pith {

absl::StatusOr<ArtifactCache::Artifact> ArtifactCache::GetOrBuild(
    std::string_view key,
    const std::function<absl::StatusOr<std::string>()>& build) const {
  Sha256 hash;
  hash.Update(key);
  const std::filesystem::path path =
      directory_ / absl::StrCat(ToHex(hash.Finish()).substr(0, 32), ".bin");

  Artifact artifact;
  absl::StatusOr<std::string> file = ReadFile(path);
  if (file.ok() && file->size() >= sizeof(artifact.build_seconds)) {
    std::memcpy(&artifact.build_seconds, file->data(),
                sizeof(artifact.build_seconds));
    artifact.bytes = file->substr(sizeof(artifact.build_seconds));
    return artifact;
  }
  if (!file.ok() && !absl::IsNotFound(file.status())) {
    return file.status();
  }
  const absl::Time start = absl::Now();
  PITH_ASSIGN_OR_RETURN(artifact.bytes, build());
  artifact.build_seconds = absl::ToDoubleSeconds(absl::Now() - start);
  std::string content(sizeof(artifact.build_seconds), '\0');
  std::memcpy(content.data(), &artifact.build_seconds, content.size());
  content += artifact.bytes;
  PITH_RETURN_IF_ERROR(WriteFileAtomically(path, content));
  return artifact;
}

}  // namespace pith
