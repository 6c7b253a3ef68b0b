#ifndef PITH_TESTS_TEMP_DIRECTORY_H_
#define PITH_TESTS_TEMP_DIRECTORY_H_

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "glog/logging.h"

namespace pith {

// A fresh directory that goes with its owner.
class TempDirectory {
 public:
  TempDirectory() {
    std::string name =
        (std::filesystem::temp_directory_path() / "pith-test-XXXXXX").string();
    CHECK_NOTNULL(mkdtemp(name.data()));
    path_ = name;
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace pith

#endif  // PITH_TESTS_TEMP_DIRECTORY_H_
