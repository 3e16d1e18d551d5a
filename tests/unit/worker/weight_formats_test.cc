#include "worker/model/weight_formats.h"

#include <gtest/gtest.h>

#include "tests/test_folder.h"

namespace headgate {
namespace {

// Chooses in a folder that holds `note`, unless empty.
absl::StatusOr<WeightFormats> Choose(const std::string& word, const std::string& note) {
  const TestFolder folder;
  if (!note.empty()) folder.Write("headgate.json", note);
  return ChooseWeightFormats(word, folder.path());
}

TEST(WeightFormatsTest, AutoFollowsTheConvertersNote) {
  const auto noted = Choose("auto", R"({"weights": {"linear": "int4", "embedding": "int8"}})");
  ASSERT_TRUE(noted.ok()) << noted.status();
  EXPECT_EQ(*noted, (WeightFormats{WeightFormat::kInt4, WeightFormat::kInt8}));
  EXPECT_EQ(*Choose("auto", ""), WeightFormats{});
  EXPECT_EQ(*Choose("auto", "{}"), WeightFormats{});
}

TEST(WeightFormatsTest, AChoiceWinsOverTheNote) {
  const std::string note = R"({"weights": {"linear": "int4"}})";
  EXPECT_EQ(Choose("bf16", note)->linear, WeightFormat::kBF16);
  EXPECT_EQ(*Choose("int4", note), (WeightFormats{WeightFormat::kInt4, WeightFormat::kInt8}));
  EXPECT_EQ(*Choose("as-stored", note), WeightFormats{});
}

TEST(WeightFormatsTest, BadWordsAndFilesAreRefused) {
  EXPECT_EQ(Choose("int3", "").status().code(), absl::StatusCode::kInvalidArgument);
  for (const char* note : {"{", "[]", R"({"weights": 3})", R"({"weights": {"linear": "q4"}})",
                           R"({"weights": {"linear": 4}})"}) {
    EXPECT_EQ(Choose("auto", note).status().code(), absl::StatusCode::kDataLoss) << note;
  }
}

TEST(WeightFormatsTest, QuantisedFormatsNeedWholeGroups) {
  EXPECT_EQ(FormatThatFits(WeightFormat::kInt4, 64), WeightFormat::kInt4);
  EXPECT_EQ(FormatThatFits(WeightFormat::kInt4, 172), WeightFormat::kAsStored);
  EXPECT_EQ(FormatThatFits(WeightFormat::kInt8, 16), WeightFormat::kAsStored);
  EXPECT_EQ(FormatThatFits(WeightFormat::kBF16, 172), WeightFormat::kBF16);
}

}  // namespace
}  // namespace headgate
