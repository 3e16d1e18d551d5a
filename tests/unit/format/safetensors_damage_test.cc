// Damaged copies of a valid file: none may crash, hang or be read as something that it is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "safetensors_bytes.h"
#include "tests/test_folder.h"
#include "worker/format/safetensors.h"
#include "worker/format/safetensors_header.h"

namespace headgate {
namespace {

std::string ValidFile() {
  return Safetensors(
      R"({"__metadata__":{"format":"pt","é":"ü"},)"
      R"("model.norm.weight":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},)"
      R"("model.layers.0.mlp.up_proj.weight":{"dtype":"BF16","shape":[2,5],)"
      R"("data_offsets":[12,32]},"scalar":{"dtype":"I64","shape":[],"data_offsets":[32,40]}}   )",
      std::string(40, 'w'));
}

// What every accepted file must fulfil, whatever its header says.
void ExpectSound(const std::vector<TensorInfo>& tensors, uint64_t file_bytes) {
  uint64_t end = tensors.empty() ? file_bytes : tensors[0].file_offset;
  for (const TensorInfo& info : tensors) {
    ASSERT_EQ(info.file_offset, end);
    end += info.bytes;
    if (info.dtype.has_value()) {
      ASSERT_EQ(static_cast<uint64_t>(info.elements() * DTypeBytes(*info.dtype)), info.bytes);
    }
  }
  ASSERT_EQ(end, file_bytes);
}

absl::StatusOr<std::vector<TensorInfo>> Parse(const std::string& bytes, size_t header_bytes) {
  return ParseSafetensorsHeader(std::string_view(bytes).substr(8, header_bytes), "m", 8,
                                bytes.size());
}

TEST(SafetensorsDamageTest, EveryTruncationIsRefused) {
  const TestFolder folder;
  const std::string whole = ValidFile();
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto file = SafetensorsFile::Open(folder.Write("m", whole.substr(0, size)));
    ASSERT_TRUE(absl::IsDataLoss(file.status())) << size << " bytes: " << file.status();
    ASSERT_THAT(std::string(file.status().message()), ::testing::HasSubstr(folder.At("m")));
  }
  ASSERT_TRUE(SafetensorsFile::Open(folder.Write("m", whole)).ok());
}

TEST(SafetensorsDamageTest, EveryFlippedBitOfTheLengthWordIsRefused) {
  const TestFolder folder;
  const std::string whole = ValidFile();
  for (size_t bit = 0; bit < 64; ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    ASSERT_FALSE(SafetensorsFile::Open(folder.Write("m", damaged)).ok()) << "bit " << bit;
  }
}

TEST(SafetensorsDamageTest, EveryFlippedBitOfTheHeaderLeavesItSound) {
  const std::string whole = ValidFile();
  const size_t header_bytes = whole.size() - 8 - 40;
  int refused = 0;
  for (size_t bit = 64; bit < 8 * (8 + header_bytes); ++bit) {
    std::string damaged = whole;
    damaged[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    const auto tensors = Parse(damaged, header_bytes);
    if (tensors.ok()) {
      ExpectSound(*tensors, damaged.size());
    } else {
      ++refused;
    }
  }
  EXPECT_GT(refused, static_cast<int>(4 * header_bytes));  // the rest only renames things
}

TEST(SafetensorsDamageTest, RandomEditsLeaveItSound) {
  const std::string whole = ValidFile();
  const size_t header_bytes = whole.size() - 8 - 40;
  const std::string alphabet = "{}[]\",:0123456789eE.-+ \\u\x80\xff\n";
  std::mt19937 random(20261121);
  const auto below = [&](size_t n) { return random() % n; };
  for (int round = 0; round < 60'000; ++round) {
    std::string header = whole.substr(8, header_bytes);
    for (size_t edits = 1 + below(4); edits > 0 && !header.empty(); --edits) {
      const size_t at = below(header.size());
      switch (below(4)) {
        case 0:
          header[at] = alphabet[below(alphabet.size())];
          break;
        case 1:
          header.erase(at, 1 + below(20));
          break;
        case 2:
          header.insert(at, header.substr(below(header.size()), below(60)));
          break;
        default:
          header.insert(at, 1, alphabet[below(alphabet.size())]);
      }
    }
    const std::string damaged = Safetensors(header, std::string(40, 'w'));
    const auto tensors = Parse(damaged, header.size());
    if (tensors.ok()) ExpectSound(*tensors, damaged.size());
  }
}

}  // namespace
}  // namespace headgate
