#include "scheduler/admission.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "scheduler/planted_bug.h"

namespace headgate {
namespace {

constexpr int64_t kHeadroomShiftMax = 4;          // 256 pages; more is as good as a guarantee
constexpr int64_t kTokensMax = int64_t{1} << 30;  // keeps prompt + max_tokens far from overflow

absl::Status CheckIds(const char* field, const std::vector<TokenId>& tokens, int64_t vocab) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!(0 <= tokens[i] && tokens[i] < vocab)) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, "[", i, "] is ", tokens[i], ", outside [0, ", vocab, ")"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFields(const Request& request, int64_t prompt_tokens_max) {
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  const auto emitted = static_cast<int64_t>(request.emitted.size());
  if (prompt == 0) return absl::InvalidArgumentError("prompt is empty; send at least one token");
  if (prompt > prompt_tokens_max) {
    return absl::InvalidArgumentError(
        absl::StrCat("prompt has ", prompt, " tokens; the limit is ", prompt_tokens_max));
  }
  const int64_t max_tokens_min = request.score ? 0 : 1;
  if (!(max_tokens_min <= request.max_tokens && request.max_tokens <= kTokensMax)) {
    return absl::InvalidArgumentError(absl::StrCat("max_tokens is ", request.max_tokens,
                                                   ", outside [", max_tokens_min, ", ", kTokensMax,
                                                   "]"));
  }
  if (emitted > request.max_tokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        "emitted has ", emitted, " tokens, more than max_tokens ", request.max_tokens));
  }
  return absl::OkStatus();
}

absl::Status CheckFits(const Request& request, std::span<const Group> groups) {
  const Group* largest = nullptr;
  for (const Group& group : groups) {
    if (!group.known) continue;
    if (largest == nullptr || group.tokens_max > largest->tokens_max) largest = &group;
  }
  if (largest == nullptr) return absl::OkStatus();

  const int64_t vocab = largest->shape.vocab;
  if (absl::Status status = CheckIds("prompt", request.prompt, vocab); !status.ok()) return status;
  if (absl::Status status = CheckIds("emitted", request.emitted, vocab); !status.ok()) {
    return status;
  }
  const auto prompt = static_cast<int64_t>(request.prompt.size());
  if (PlantedBug(Bug::kNeverFitsAccepted)) return absl::OkStatus();
  if (prompt + request.max_tokens <= largest->tokens_max) return absl::OkStatus();
  const bool by_pages = largest->tokens_max < largest->shape.max_positions;
  return absl::InvalidArgumentError(absl::StrCat(
      "prompt ", prompt, " + max_tokens ", request.max_tokens, " = ", prompt + request.max_tokens,
      " tokens can never run: the longest sequence is ", largest->tokens_max, " tokens (",
      by_pages ? "page pool" : "positions of the model", ")"));
}

bool Guaranteed(const LiveRequest& live, const AdmissionLimits& limits) {
  return live.preemptions >= limits.preemptions_max;
}

int64_t AdmissionTokens(const LiveRequest& live, const AdmissionLimits& limits,
                        int64_t page_tokens) {
  if (Guaranteed(live, limits)) return live.tokens_max();
  int64_t headroom = 1;
  if (live.preemptions > 0) {
    headroom += page_tokens << (2 * std::min(live.preemptions - 1, kHeadroomShiftMax));
  }
  return std::min(live.prompt_tokens() + live.emitted_tokens() + headroom, live.tokens_max());
}

}  // namespace headgate
