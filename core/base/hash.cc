#include "core/base/hash.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "glog/logging.h"
#include <openssl/evp.h>

namespace pith {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

// OpenSSL's digests fail only when memory runs out or the library was built
// without SHA-256.
Sha256::Sha256() : context_(std::make_unique<Context>()) {
  CHECK_NOTNULL(context_->evp);
  CHECK_EQ(EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr), 1);
}

Sha256::~Sha256() = default;

void Sha256::Update(std::string_view bytes) {
  CHECK_EQ(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()), 1);
}

std::array<uint8_t, 32> Sha256::Finish() {
  std::array<uint8_t, 32> digest;
  CHECK_EQ(EVP_DigestFinal_ex(context_->evp, digest.data(), nullptr), 1);
  return digest;
}

ContentHash Sha256::FinishContent() {
  const std::array<uint8_t, 32> digest = Finish();
  ContentHash hash;
  std::copy_n(digest.begin(), hash.bytes.size(), hash.bytes.begin());
  return hash;
}

std::string ToHex(std::span<const uint8_t> bytes) {
  return absl::BytesToHexString(
      {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

}  // namespace pith
