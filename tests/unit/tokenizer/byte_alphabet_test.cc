#include "server/tokenizer/byte_alphabet.h"

#include <set>

#include "gtest/gtest.h"

namespace headgate {
namespace {

TEST(ByteAlphabetTest, AllBytesRoundTripThroughDistinctCharacters) {
  std::string bytes;
  std::set<std::string_view> characters;
  for (int byte = 0; byte < 256; ++byte) {
    bytes.push_back(static_cast<char>(byte));
    characters.insert(ByteCharacter(static_cast<uint8_t>(byte)));
  }
  EXPECT_EQ(characters.size(), 256u);
  EXPECT_EQ(FromByteAlphabet(ToByteAlphabet(bytes)), bytes);
}

TEST(ByteAlphabetTest, KnownCharacters) {
  EXPECT_EQ(ToByteAlphabet("a \n\u00e9"), "a\u0120\u010a\u00c3\u00a9");
  EXPECT_EQ(FromByteAlphabet(" "), std::nullopt);       // a space is written as U+0120
  EXPECT_EQ(FromByteAlphabet("\u4f60"), std::nullopt);  // not of the alphabet
  EXPECT_EQ(FromByteAlphabet("\u0144"), std::nullopt);  // one past its end
}

}  // namespace
}  // namespace headgate
