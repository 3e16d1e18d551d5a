// CHECK for broken invariants: prints where and why, then aborts. On in every build.
// Never for what a user, a file or a peer can cause: that is an absl::Status.
#pragma once

#include <sstream>

namespace headgate::internal {

// Collects the message; aborts when the full expression ends.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  ~CheckFailure();
  CheckFailure(const CheckFailure&) = delete;
  CheckFailure& operator=(const CheckFailure&) = delete;
  std::ostream& stream() { return message_; }

 private:
  std::ostringstream message_;
};

}  // namespace headgate::internal

#define CHECK(condition)                                      \
  if (__builtin_expect(static_cast<bool>(condition), true)) { \
  } else /* NOLINT */                                         \
    ::headgate::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()

#define CHECK_EQ(a, b) CHECK((a) == (b)) << " (" << (a) << " vs " << (b) << ") "
#define CHECK_LE(a, b) CHECK((a) <= (b)) << " (" << (a) << " vs " << (b) << ") "
#define CHECK_LT(a, b) CHECK((a) < (b)) << " (" << (a) << " vs " << (b) << ") "
#define CHECK_GE(a, b) CHECK((a) >= (b)) << " (" << (a) << " vs " << (b) << ") "
