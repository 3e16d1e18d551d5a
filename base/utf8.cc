#include "base/utf8.h"

#include "base/check.h"

namespace headgate {
namespace {

// What a lead byte asks for: how many continuation bytes, and the range of the first of them.
struct Lead {
  size_t continuations = 0;
  uint8_t lower = 0x80;
  uint8_t upper = 0xBF;
  bool valid = false;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {0, 0x80, 0xBF, true};
  if (byte >= 0xC2 && byte <= 0xDF) return {1, 0x80, 0xBF, true};
  if (byte == 0xE0) return {2, 0xA0, 0xBF, true};
  if (byte == 0xED) return {2, 0x80, 0x9F, true};
  if (byte >= 0xE1 && byte <= 0xEF) return {2, 0x80, 0xBF, true};
  if (byte == 0xF0) return {3, 0x90, 0xBF, true};
  if (byte >= 0xF1 && byte <= 0xF3) return {3, 0x80, 0xBF, true};
  if (byte == 0xF4) return {3, 0x80, 0x8F, true};
  return {};
}

uint8_t ByteAt(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

}  // namespace

size_t FirstInvalidUtf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t size = WellFormedUtf8Size(text, at);
    if (size == 0) return at;
    at += size;
  }
  return std::string_view::npos;
}

size_t WellFormedUtf8Size(std::string_view text, size_t at) {
  const Lead lead = LeadOf(ByteAt(text, at));
  if (!lead.valid || text.size() - at <= lead.continuations) return 0;
  for (size_t k = 1; k <= lead.continuations; ++k) {
    const uint8_t byte = ByteAt(text, at + k);
    const uint8_t lower = k == 1 ? lead.lower : 0x80;
    const uint8_t upper = k == 1 ? lead.upper : 0xBF;
    if (byte < lower || byte > upper) return 0;
  }
  return 1 + lead.continuations;
}

size_t Utf8CharacterSize(std::string_view text, size_t at) {
  const size_t size = 1 + LeadOf(ByteAt(text, at)).continuations;
  CHECK_LE(size, text.size() - at);
  return size;
}

char32_t Utf8CodePoint(std::string_view text, size_t at) {
  const size_t size = Utf8CharacterSize(text, at);
  const uint8_t first = ByteAt(text, at);
  if (size == 1) return first;
  char32_t code = first & (0x7F >> size);
  for (size_t k = 1; k < size; ++k) code = code << 6 | (ByteAt(text, at + k) & 0x3F);
  return code;
}

void AppendUtf8(char32_t code, std::string* out) {
  const auto put = [out](uint32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

void Utf8Repair::PushByte(uint8_t byte, std::string* out) {
  if (missing_ > 0 && !(lower_ <= byte && byte <= upper_)) {
    out->append(kReplacementCharacter);
    pending_size_ = missing_ = 0;
  }
  if (missing_ == 0) {
    const Lead lead = LeadOf(byte);
    if (!lead.valid) {
      out->append(kReplacementCharacter);
    } else if (lead.continuations == 0) {
      out->push_back(static_cast<char>(byte));
    } else {
      pending_[0] = static_cast<char>(byte);
      pending_size_ = 1;
      missing_ = lead.continuations;
      lower_ = lead.lower;
      upper_ = lead.upper;
    }
    return;
  }
  lower_ = 0x80;
  upper_ = 0xBF;
  if (--missing_ > 0) {
    pending_[pending_size_++] = static_cast<char>(byte);
    return;
  }
  out->append(pending_.data(), pending_size_);
  out->push_back(static_cast<char>(byte));
  pending_size_ = 0;
}

void Utf8Repair::Push(std::string_view bytes, std::string* out) {
  for (const char c : bytes) PushByte(static_cast<uint8_t>(c), out);
}

void Utf8Repair::Finish(std::string* out) {
  if (missing_ > 0) out->append(kReplacementCharacter);
  pending_size_ = missing_ = 0;
}

}  // namespace headgate
