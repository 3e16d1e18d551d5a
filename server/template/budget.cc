#include "server/template/budget.h"

#include "absl/strings/str_cat.h"

namespace headgate::jinja {

absl::Status Budget::Exhausted(const char* what, size_t limit) {
  return absl::ResourceExhaustedError(
      absl::StrCat("the chat template used more than its ", limit, " ", what));
}

}  // namespace headgate::jinja
