#include "worker/model/weight_formats.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/test_folder.h"

namespace headgate {
namespace {

std::string FolderWith(const std::string& note) {
  const std::string folder = FreshFolder("weight_formats");
  if (!note.empty()) std::ofstream(folder + "/headgate.json") << note;
  return folder;
}

TEST(WeightFormatsTest, AutoFollowsTheConvertersNote) {
  const auto noted = ChooseWeightFormats(
      "auto", FolderWith(R"({"weights": {"linear": "int4", "embedding": "int8"}})"));
  ASSERT_TRUE(noted.ok()) << noted.status();
  EXPECT_EQ(*noted, (WeightFormats{WeightFormat::kInt4, WeightFormat::kInt8}));
  EXPECT_EQ(*ChooseWeightFormats("auto", FolderWith("")), WeightFormats{});
  EXPECT_EQ(*ChooseWeightFormats("auto", FolderWith("{}")), WeightFormats{});
}

TEST(WeightFormatsTest, AChoiceWinsOverTheNote) {
  const std::string folder = FolderWith(R"({"weights": {"linear": "int4"}})");
  EXPECT_EQ(ChooseWeightFormats("bf16", folder)->linear, WeightFormat::kBF16);
  EXPECT_EQ(*ChooseWeightFormats("int4", folder),
            (WeightFormats{WeightFormat::kInt4, WeightFormat::kInt8}));
  EXPECT_EQ(*ChooseWeightFormats("as-stored", folder), WeightFormats{});
}

TEST(WeightFormatsTest, BadWordsAndFilesAreRefused) {
  EXPECT_EQ(ChooseWeightFormats("int3", FolderWith("")).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (const char* note : {"{", "[]", R"({"weights": 3})", R"({"weights": {"linear": "q4"}})",
                           R"({"weights": {"linear": 4}})"}) {
    EXPECT_EQ(ChooseWeightFormats("auto", FolderWith(note)).status().code(),
              absl::StatusCode::kDataLoss)
        << note;
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
