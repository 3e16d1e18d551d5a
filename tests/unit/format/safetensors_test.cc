#include "worker/format/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "safetensors_bytes.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return std::string("\"") + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape +
         "],\"data_offsets\":[" + offsets + "]}";
}

class SafetensorsTest : public ::testing::Test {
 protected:
  absl::StatusOr<SafetensorsFile> Open(const std::string& bytes) {
    return SafetensorsFile::Open(folder_.Write("m.safetensors", bytes));
  }
  // Why the file is refused; "" when it is not. Every refusal must name the file.
  std::string Refusal(const std::string& header, size_t data_bytes) {
    return RefusalOf(Safetensors(header, std::string(data_bytes, 'x')));
  }
  std::string RefusalOf(const std::string& bytes) {
    const auto file = Open(bytes);
    if (file.ok()) return "";
    EXPECT_TRUE(absl::IsDataLoss(file.status())) << file.status();
    EXPECT_THAT(std::string(file.status().message()), HasSubstr(folder_.At("m.safetensors")));
    return std::string(file.status().message());
  }

  TestFolder folder_;
};

TEST_F(SafetensorsTest, ReadsTensorsInOrderOfTheirBytes) {
  const auto file = Open(Safetensors(std::string("{") + Entry("b", "F32", "2,1", "4,12") + "," +
                                         Entry("a", "BF16", "2", "0,4") + "}  ",
                                     "ABCDefghIJKL"));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->tensors().size(), 2u);
  const TensorInfo& a = file->tensors()[0];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, DType::kBF16);
  EXPECT_THAT(a.shape, ElementsAre(2));
  const TensorInfo* b = file->Find("b");
  ASSERT_EQ(b, &file->tensors()[1]);
  EXPECT_EQ(b->elements(), 2);
  EXPECT_EQ(file->Find("c"), nullptr);

  const auto bytes = file->Read(*b);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes->data()), bytes->bytes().size()),
            "efghIJKL");
  EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes->data()) % 64, 0u);
  std::string row(4, ' ');
  const absl::Status read = file->ReadRows(*b, 1, 1, std::as_writable_bytes(std::span(row)));
  ASSERT_TRUE(read.ok()) << read;
  EXPECT_EQ(row, "IJKL");
}

TEST_F(SafetensorsTest, AcceptsScalarsEmptyTensorsMetadataAndOtherTypes) {
  EXPECT_EQ(Refusal("{}", 0), "");
  EXPECT_EQ(Refusal(std::string("{\"__metadata__\":{\"format\":\"pt\"},") +
                        Entry("s", "F32", "", "0,4") + "," + Entry("e", "F32", "0,7", "4,4") + "," +
                        Entry("i", "I64", "1", "4,12") + "}",
                    12),
            "");
  const auto file =
      Open(Safetensors(std::string("{") + Entry("i", "I64", "1", "0,8") + "}", "12345678"));
  ASSERT_TRUE(file.ok());
  EXPECT_FALSE(file->tensors()[0].dtype.has_value());
}

TEST_F(SafetensorsTest, LengthWord) {
  EXPECT_THAT(RefusalOf(""), StartsWith("HeaderTooSmall"));
  EXPECT_THAT(RefusalOf("1234567"), StartsWith("HeaderTooSmall"));
  EXPECT_THAT(RefusalOf(std::string("\x03\0\0\0\0\0\0\0{}", 10)),
              StartsWith("InvalidHeaderLength"));
  EXPECT_THAT(RefusalOf(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10)),  // 100,000,001
              StartsWith("HeaderTooLarge"));
  EXPECT_THAT(RefusalOf(std::string(8, '\xff') + "{}"), StartsWith("HeaderTooLarge"));
  EXPECT_THAT(RefusalOf(std::string(8, '\0')), StartsWith("InvalidHeaderDeserialization"));
}

TEST_F(SafetensorsTest, HeaderMustBeUtf8) {
  EXPECT_THAT(Refusal("{\"\xc0\xaf\":1}", 0),
              AllOf(StartsWith("InvalidHeader:"), HasSubstr("byte 10:")));
  EXPECT_THAT(Refusal("{\"\xed\xa0\x80\":1}", 0), StartsWith("InvalidHeader:"));
}

TEST_F(SafetensorsTest, HeaderStructure) {
  const std::string good = Entry("a", "F32", "1", "0,4");
  const std::vector<std::string> headers = {
      std::string(" {") + good + "}",   // must begin with the brace
      std::string("{") + good + "}\n",  // padded with spaces only
      std::string("{") + good + "} x}",
      std::string("{") + good + "}{}",
      std::string("{") + good,
      "[]",
      std::string("{") + good + "," + good + "}",  // name twice
      std::string("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"},") + good + "}",
      std::string("{\"__metadata__\":{\"k\":1},") + good + "}",
      std::string("{\"__metadata__\":[],") + good + "}",
      std::string("{\"__metadata__\":{\"k\":{}},") + good + "}",
      std::string("{\"__metadata__\":{},\"__metadata__\":{},") + good + "}",
      R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":"1"}})",
      R"({"a":{"dtype":"F32","shape":[1]}})",
      R"({"a":{"shape":[1],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","data_offsets":[0,4]}})",
      R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":["F32"],"shape":[1],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":[null],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}})",
      R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})",
      R"({"a":null})",
      R"({"a":true})",
      R"({"a":{"dtype":{},"shape":[1],"data_offsets":[0,4]}})",
      std::string("{") + Entry("a", "F33", "1", "0,4") + "}",  // no such type
      std::string("{") + Entry("a", "f32", "1", "0,4") + "}",
  };
  for (const std::string& header : headers) {
    EXPECT_THAT(Refusal(header, 4), StartsWith("InvalidHeaderDeserialization")) << header;
  }
  EXPECT_EQ(Refusal(std::string("{") + good + "}", 4), "");
}

TEST_F(SafetensorsTest, DeepNestingIsRefusedAtOnce) {
  std::string deep = "{\"a\":";
  deep.append(1'000'000, '[');
  EXPECT_THAT(Refusal(deep + "}", 0), StartsWith("InvalidHeaderDeserialization"));
}

TEST_F(SafetensorsTest, ShapeMustMatchBytes) {
  EXPECT_THAT(Refusal(std::string("{") + Entry("a", "F32", "2", "0,4") + "}", 4),
              AllOf(StartsWith("TensorInvalidInfo"), HasSubstr("tensor a")));
  EXPECT_THAT(Refusal(std::string("{") + Entry("a", "F16", "1", "0,4") + "}", 4),
              StartsWith("TensorInvalidInfo"));
  EXPECT_THAT(Refusal(std::string("{") + Entry("a", "F4", "3", "0,1") + "}", 1),
              StartsWith("TensorInvalidInfo"));
  EXPECT_THAT(Refusal(std::string("{") + Entry("a", "F32", "1,1,1,1,1,1,1,1,1", "0,4") + "}", 4),
              StartsWith("TensorInvalidInfo"));
  EXPECT_THAT(Refusal(std::string("{") + Entry("a", "F32", "1", "0,2,4") + "}", 4),
              StartsWith("TensorInvalidInfo"));
}

TEST_F(SafetensorsTest, ShapeProductMayNotWrap) {
  // 2^62 * 4 * 4 bytes is 0 modulo 2^64.
  for (const char* shape :
       {"4611686018427387904,4", "4611686018427387904,4,0", "2305843009213693952",
        "9223372036854775808", "18446744073709551615,0"}) {
    EXPECT_THAT(Refusal(std::string("{") + Entry("a", "F32", shape, "0,0") + "}", 0),
                StartsWith("ValidationOverflow"))
        << shape;
  }
}

TEST_F(SafetensorsTest, TensorsMustCoverTheData) {
  const auto two = [&](const char* first, const char* second, size_t bytes) {
    return Refusal(
        std::string("{") + Entry("a", "U8", "4", first) + "," + Entry("b", "U8", "4", second) + "}",
        bytes);
  };
  EXPECT_EQ(two("0,4", "4,8", 8), "");
  EXPECT_EQ(two("4,8", "0,4", 8), "");
  EXPECT_THAT(two("0,4", "5,9", 9),
              AllOf(StartsWith("InvalidOffset"), HasSubstr("tensor b"), HasSubstr("hole")));
  EXPECT_THAT(two("0,4", "3,7", 7),
              AllOf(StartsWith("InvalidOffset"), HasSubstr("tensor b"), HasSubstr("overlaps")));
  EXPECT_THAT(two("0,4", "0,4", 4), StartsWith("InvalidOffset"));
  EXPECT_THAT(two("1,5", "5,9", 9), StartsWith("InvalidOffset"));
  EXPECT_THAT(two("4,0", "4,8", 8), StartsWith("InvalidOffset"));
  EXPECT_THAT(two("0,4", "4,8", 7),
              AllOf(StartsWith("MetadataIncompleteBuffer"), HasSubstr("tensor b")));
  EXPECT_THAT(two("0,4", "4,8", 9), StartsWith("MetadataIncompleteBuffer"));
  EXPECT_THAT(Refusal(std::string("{") +
                          Entry("a", "U8", "4", "18446744073709551612,18446744073709551615") + "}",
                      4),
              StartsWith("TensorInvalidInfo"));
  EXPECT_THAT(Refusal("{}", 1), StartsWith("MetadataIncompleteBuffer"));
}

TEST_F(SafetensorsTest, NamesCannotForgeALogLine) {
  const std::string refusal =
      Refusal(std::string("{") + Entry("a\\nfake", "F32", "2", "0,4") + "}", 4);
  EXPECT_EQ(refusal.find('\n'), std::string::npos) << refusal;
}

TEST_F(SafetensorsTest, NotAFile) {
  EXPECT_TRUE(absl::IsNotFound(SafetensorsFile::Open(folder_.At("none")).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(SafetensorsFile::Open(folder_.path()).status()));
}

TEST_F(SafetensorsTest, FileCutShortWhileOpen) {
  const std::string bytes = Safetensors(std::string("{") + Entry("a", "U8", "4096", "0,4096") + "}",
                                        std::string(4096, 'x'));
  const auto file = Open(bytes);
  ASSERT_TRUE(file.ok());
  std::filesystem::resize_file(file->path(), bytes.size() - 1000);
  const auto read = file->Read(file->tensors()[0]);
  ASSERT_TRUE(absl::IsDataLoss(read.status())) << read.status();
  EXPECT_THAT(std::string(read.status().message()),
              AllOf(HasSubstr("tensor a"), HasSubstr("m.safetensors"),
                    HasSubstr("ends at byte " + std::to_string(bytes.size() - 1000))));
}

TEST_F(SafetensorsTest, FileGrownWhileOpen) {
  const auto file =
      Open(Safetensors(std::string("{") + Entry("a", "U8", "4", "0,4") + "}", "abcd"));
  ASSERT_TRUE(file.ok());
  std::filesystem::resize_file(file->path(), 1 << 20);
  const auto read = file->Read(file->tensors()[0]);
  ASSERT_TRUE(absl::IsDataLoss(read.status())) << read.status();
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("was changed"));
}

TEST_F(SafetensorsTest, ReplacedFileStaysTheOldOne) {
  const auto file =
      Open(Safetensors(std::string("{") + Entry("a", "U8", "4", "0,4") + "}", "abcd"));
  ASSERT_TRUE(file.ok());
  std::filesystem::rename(folder_.Write("new", "short"), file->path());
  EXPECT_TRUE(file->Read(file->tensors()[0]).ok());
}

TEST_F(SafetensorsTest, SparseHugeFileCostsNothing) {
  const std::string path = folder_.Write("huge", Safetensors("{}", ""));
  std::filesystem::resize_file(path, uintmax_t{1} << 40);
  EXPECT_THAT(std::string(SafetensorsFile::Open(path).status().message()),
              StartsWith("MetadataIncompleteBuffer"));
}

}  // namespace
}  // namespace headgate
