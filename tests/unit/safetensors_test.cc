#include "embedder/safetensors.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

#include "core/base/file.h"
#include "tests/status_matchers.h"
#include "tests/temp_directory.h"

namespace pith {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

std::string Number(uint64_t value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

std::string File(const std::string& header, const std::string& data) {
  return Number(header.size()) + header + data;
}

template <typename T>
std::string Bytes(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()),
                     values.size() * sizeof(T));
}

// A file with `content` in a directory of its own.
class WrittenFile {
 public:
  explicit WrittenFile(const std::string& content) {
    std::ofstream(path(), std::ios::binary) << content;
  }
  void SetByte(size_t offset, char byte) const {
    std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(byte);
  }
  fs::path path() const { return directory_.path() / "a.safetensors"; }

 private:
  const TempDirectory directory_;
};

// An open file needs no directory entry.
absl::StatusOr<SafetensorsFile> Open(const std::string& content) {
  return SafetensorsFile::Open(WrittenFile(content).path());
}

// Two tensors of 8 and 4 bytes, and one without elements.
std::string SmallFile() {
  return File(
      R"({"__metadata__": {"format": "pt"},)"
      R"("b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},)"
      R"("a": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [8, 12]},)"
      R"("e": {"dtype": "I64", "shape": [0, 7], "data_offsets": [12, 12]}})",
      Bytes<float>({1.5f, -2.0f}) + Bytes<uint16_t>({0x3F80, 0xC040}));
}

TEST(SafetensorsFile, ReadsTensorsByName) {
  const auto file = Open(SmallFile());
  ASSERT_OK(file);
  ASSERT_EQ(file->tensors().size(), 3u);
  EXPECT_THAT(file->tensors().at("a").shape, ElementsAre(1, 2));
  EXPECT_EQ(file->tensors().at("e").type,
            SafetensorsFile::Tensor::Type::kOther);
  const auto b = file->ReadFloats("b", std::vector<int64_t>{2});
  ASSERT_OK(b);
  EXPECT_THAT(*b, ElementsAre(1.5f, -2.0f));
  const auto a = file->ReadFloats("a", std::vector<int64_t>{1, 2});
  ASSERT_OK(a);
  EXPECT_THAT(*a, ElementsAre(1.0f, -3.0f));
}

TEST(SafetensorsFile, ReadsTheTinyModel) {
  const auto file = SafetensorsFile::Open(fs::path(PITH_TEST_DATA) /
                                          "tiny-bert" / "model.safetensors");
  ASSERT_OK(file);
  const auto weights =
      file->ReadFloats("encoder.layer.1.attention.output.LayerNorm.weight",
                       std::vector<int64_t>{48});
  ASSERT_OK(weights);
  for (const float weight : *weights) {
    EXPECT_NEAR(weight, 1.0f, 0.6f);
  }
}

TEST(SafetensorsFile, ConvertsEveryKindOfHalf) {
  const auto file = Open(
      File(R"({"h": {"dtype": "F16", "shape": [9], "data_offsets": [0, 18]}})",
           Bytes<uint16_t>({0x3C00, 0xC000, 0x0000, 0x8000, 0x0001, 0x83FF,
                            0x0400, 0x7BFF, 0xFC00})));
  ASSERT_OK(file);
  const auto values = file->ReadFloats("h", std::vector<int64_t>{9});
  ASSERT_OK(values);
  EXPECT_THAT(*values,
              ElementsAre(1.0f, -2.0f, 0.0f, 0.0f, std::ldexp(1.0f, -24),
                          -1023 * std::ldexp(1.0f, -24), std::ldexp(1.0f, -14),
                          65504.0f, -std::numeric_limits<float>::infinity()));
  EXPECT_TRUE(std::signbit((*values)[3]));
}

TEST(SafetensorsFile, RefusesATensorThatIsNotAsAskedFor) {
  const auto file = Open(SmallFile());
  ASSERT_OK(file);
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_THAT(file->ReadFloats("c", std::vector<int64_t>{2}),
              StatusIs(kInvalid, "tensor \"c\" is missing"));
  EXPECT_THAT(file->ReadFloats("b", std::vector<int64_t>{2, 1}),
              StatusIs(kInvalid, "has the shape [2], expected [2, 1]"));
  EXPECT_THAT(file->ReadFloats("e", std::vector<int64_t>{0, 7}),
              StatusIs(kInvalid, "tensor \"e\" is of another type"));
}

TEST(SafetensorsFile, RefusesAFileThatIsMissing) {
  EXPECT_THAT(SafetensorsFile::Open("none.safetensors"),
              StatusIs(absl::StatusCode::kNotFound, "none.safetensors"));
}

TEST(SafetensorsFile, RefusesAFileThatIsCutAnywhereOrLonger) {
  const std::string whole = SmallFile();
  ASSERT_OK(Open(whole));
  const WrittenFile written(whole);
  for (size_t size = whole.size(); size-- > 0;) {
    SCOPED_TRACE(size);
    fs::resize_file(written.path(), size);
    EXPECT_THAT(SafetensorsFile::Open(written.path()),
                StatusIs(absl::StatusCode::kDataLoss, ".safetensors"));
  }
  EXPECT_THAT(Open(whole + "x"),
              StatusIs(absl::StatusCode::kDataLoss, "tensors end at byte"));
}

// A flipped bit may still be a valid file (in a name or a value); what opens
// must be read without touching anything outside.
TEST(SafetensorsFile, SurvivesEveryFlippedBit) {
  const std::string whole = SmallFile();
  const WrittenFile written(whole);
  for (size_t i = 0; i < whole.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      SCOPED_TRACE(i * 8 + static_cast<size_t>(bit));
      written.SetByte(i, static_cast<char>(whole[i] ^ (1 << bit)));
      const auto file = SafetensorsFile::Open(written.path());
      if (!file.ok()) {
        EXPECT_THAT(file, StatusIs(absl::StatusCode::kDataLoss, ""));
        continue;
      }
      for (const auto& [name, tensor] : file->tensors()) {
        EXPECT_LE(tensor.end, whole.size());
        (void)file->ReadFloats(name, tensor.shape);
      }
    }
    written.SetByte(i, whole[i]);
  }
}

TEST(SafetensorsFile, NoticesThatTheFileBecameShorter) {
  const WrittenFile written(SmallFile());
  const auto file = SafetensorsFile::Open(written.path());
  ASSERT_OK(file);
  fs::resize_file(written.path(), SmallFile().size() - 6);
  EXPECT_THAT(file->ReadFloats("b", std::vector<int64_t>{2}),
              StatusIs(absl::StatusCode::kDataLoss, "ends at byte"));
}

TEST(SafetensorsFile, RefusesHeadersThatContradictThemselves) {
  struct Case {
    std::string header;
    std::string message;
  };
  const auto tensor = [](const std::string& fields) {
    return R"({"t": {)" + fields + "}}";
  };
  const Case cases[] = {
      {"", "header is not a JSON object"},
      {"[]", "header is not a JSON object"},
      {"{", "header is not a JSON object"},
      {"{\"t\xFF\": 1}", "header is not a JSON object"},
      {std::string(100'000, '['), "header is not a JSON object"},
      {R"({"t": 1})", "tensor \"t\" is not an object"},
      {tensor(R"("shape": [2], "data_offsets": [0, 8])"), "has no dtype"},
      {tensor(R"("dtype": "F7", "shape": [2], "data_offsets": [0, 8])"),
       "unknown dtype \"F7\""},
      {tensor(R"("dtype": "F32", "data_offsets": [0, 8])"), "no valid shape"},
      {tensor(R"("dtype": "F32", "shape": [-2], "data_offsets": [0, 8])"),
       "no valid shape"},
      {tensor(R"("dtype": "F32", "shape": [2.0], "data_offsets": [0, 8])"),
       "no valid shape"},
      {tensor(R"("dtype": "F32", "shape": [2])"), "no valid data_offsets"},
      {tensor(R"("dtype": "F32", "shape": [2], "data_offsets": [0])"),
       "no valid data_offsets"},
      {tensor(R"("dtype": "F32", "shape": [2], "data_offsets": [0, 12])"),
       "is at bytes 0 to 12 of 8"},
      {tensor(R"("dtype": "F32", "shape": [2], "data_offsets": [8, 0])"),
       "is at bytes 8 to 0 of 8"},
      {tensor(R"("dtype": "F32", "shape": [3], "data_offsets": [0, 8])"),
       "needs 12 bytes, its data_offsets hold 8"},
      {tensor(R"("dtype": "F32", "shape": [4611686018427387905, 2],)"
              R"("data_offsets": [0, 8])"),
       "needs more than 2^64 bytes"},
      {tensor(R"("dtype": "F32", "shape": [1], "data_offsets": [4, 8])"),
       "begins at byte"},
      {tensor(R"("dtype": "F32", "shape": [1], "data_offsets": [0, 4])"),
       "tensors end at byte"},
      {R"({"s": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},)"
       R"("t": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})",
       "tensor \"t\" begins at byte"},
      {R"({"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},)"
       R"("t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}})",
       "has the tensor \"t\" twice"},
  };
  for (const Case& test : cases) {
    SCOPED_TRACE(test.header.substr(0, 200));
    EXPECT_THAT(Open(File(test.header, std::string(8, '\0'))),
                StatusIs(absl::StatusCode::kDataLoss, test.message));
  }
}

TEST(SafetensorsFile, RefusesAHeaderLongerThanTheFile) {
  for (const uint64_t length : {uint64_t{3}, uint64_t{1} << 40, UINT64_MAX}) {
    EXPECT_THAT(Open(Number(length) + "{}"),
                StatusIs(absl::StatusCode::kDataLoss, "says its header has"));
  }
}

}  // namespace
}  // namespace pith
