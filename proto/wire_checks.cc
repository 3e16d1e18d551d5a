#include "proto/wire_checks.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace headgate::wire {
namespace {

absl::Status OutOfRange(const char* field, double lo, double hi) {
  return absl::InvalidArgumentError(
      absl::StrCat("wire: ", field, " must be in [", lo, ", ", hi, "]"));
}

}  // namespace

absl::Status CheckRange(const char* field, int64_t value, int64_t lo, int64_t hi) {
  if (!(lo <= value && value <= hi)) {
    return absl::InvalidArgumentError(
        absl::StrCat("wire: ", field, " is ", value, ", must be in [", lo, ", ", hi, "]"));
  }
  return absl::OkStatus();
}

absl::Status CheckRange(const char* field, double value, double lo, double hi) {
  if (!(lo <= value && value <= hi)) return OutOfRange(field, lo, hi);
  return absl::OkStatus();
}

absl::Status CheckFinite(const char* field, float value) {
  if (!std::isfinite(value)) {
    return absl::InvalidArgumentError(absl::StrCat("wire: ", field, " is not finite"));
  }
  return absl::OkStatus();
}

absl::Status CheckTokens(const char* field, const google::protobuf::RepeatedField<int32_t>& tokens,
                         int64_t lo, int64_t size_max) {
  if (!(tokens.size() <= size_max)) {
    return absl::InvalidArgumentError(
        absl::StrCat("wire: ", field, " has more than ", size_max, " tokens"));
  }
  for (int32_t token : tokens) RETURN_IF_ERROR(CheckRange(field, int64_t{token}, lo, kTokenMax));
  return absl::OkStatus();
}

absl::Status CheckFinite(const char* field, const google::protobuf::RepeatedField<float>& values) {
  if (!(values.size() <= kTokensMax)) {
    return absl::InvalidArgumentError(absl::StrCat("wire: ", field, " is too long"));
  }
  for (float value : values) RETURN_IF_ERROR(CheckFinite(field, value));
  return absl::OkStatus();
}

void ToWire(const SamplingParams& params, internal::SamplingParams& out) {
  out.set_temperature(params.temperature);
  out.set_top_k(params.top_k);
  out.set_top_p(params.top_p);
  out.set_min_p(params.min_p);
  out.set_repetition_penalty(params.repetition_penalty);
  out.set_presence_penalty(params.presence_penalty);
  out.set_frequency_penalty(params.frequency_penalty);
  out.set_seed(params.seed);
  out.set_top_logprobs(params.top_logprobs);
}

absl::StatusOr<SamplingParams> FromWire(const internal::SamplingParams& in) {
  constexpr double kAboveZero = std::numeric_limits<float>::min();
  RETURN_IF_ERROR(CheckRange("temperature", double{in.temperature()}, 0.0, 100.0));
  RETURN_IF_ERROR(CheckRange("top_k", int64_t{in.top_k()}, 0, kTokenMax));
  RETURN_IF_ERROR(CheckRange("top_p", double{in.top_p()}, kAboveZero, 1.0));
  RETURN_IF_ERROR(CheckRange("min_p", double{in.min_p()}, 0.0, 1.0));
  RETURN_IF_ERROR(
      CheckRange("repetition_penalty", double{in.repetition_penalty()}, kAboveZero, 10.0));
  RETURN_IF_ERROR(CheckRange("presence_penalty", double{in.presence_penalty()}, -2.0, 2.0));
  RETURN_IF_ERROR(CheckRange("frequency_penalty", double{in.frequency_penalty()}, -2.0, 2.0));
  RETURN_IF_ERROR(CheckRange("top_logprobs", int64_t{in.top_logprobs()}, -1, kTopLogprobsMax));
  return SamplingParams{.temperature = in.temperature(),
                        .top_k = in.top_k(),
                        .top_p = in.top_p(),
                        .min_p = in.min_p(),
                        .repetition_penalty = in.repetition_penalty(),
                        .presence_penalty = in.presence_penalty(),
                        .frequency_penalty = in.frequency_penalty(),
                        .seed = in.seed(),
                        .top_logprobs = in.top_logprobs()};
}

void ToWire(const PageStats& stats, internal::PageStats& out) {
  out.set_total(stats.total);
  out.set_free(stats.free);
  out.set_referenced_full(stats.referenced_full);
  out.set_referenced_streaming(stats.referenced_streaming);
  out.set_referenced_gated(stats.referenced_gated);
  out.set_pending_free(stats.pending_free);
  out.set_peak_referenced(stats.peak_referenced);
  out.set_freed_by_policy(stats.freed_by_policy);
  out.set_freed_by_release(stats.freed_by_release);
  out.set_page_bytes(stats.page_bytes);
}

absl::StatusOr<PageStats> FromWire(const internal::PageStats& in) {
  const uint64_t sum = uint64_t{in.free()} + in.referenced_full() + in.referenced_streaming() +
                       in.referenced_gated() + in.pending_free();
  if (sum != in.total()) {
    return absl::InvalidArgumentError("wire: pages.total is not free + referenced + pending_free");
  }
  if (!(in.peak_referenced() <= in.total())) {
    return absl::InvalidArgumentError("wire: pages.peak_referenced is above pages.total");
  }
  return PageStats{.total = in.total(),
                   .free = in.free(),
                   .referenced_full = in.referenced_full(),
                   .referenced_streaming = in.referenced_streaming(),
                   .referenced_gated = in.referenced_gated(),
                   .pending_free = in.pending_free(),
                   .peak_referenced = in.peak_referenced(),
                   .freed_by_policy = in.freed_by_policy(),
                   .freed_by_release = in.freed_by_release(),
                   .page_bytes = in.page_bytes()};
}

void ToWire(const std::vector<TokenLogprob>& top,
            google::protobuf::RepeatedPtrField<internal::TokenLogprob>& out) {
  for (const TokenLogprob& entry : top) {
    internal::TokenLogprob* wire = out.Add();
    wire->set_token(entry.token);
    wire->set_logprob(entry.logprob);
  }
}

absl::StatusOr<std::vector<TokenLogprob>> FromWire(
    const google::protobuf::RepeatedPtrField<internal::TokenLogprob>& in) {
  if (!(in.size() <= kTopLogprobsMax)) {
    return absl::InvalidArgumentError(absl::StrCat("wire: top has more than ", kTopLogprobsMax));
  }
  std::vector<TokenLogprob> top;
  top.reserve(static_cast<size_t>(in.size()));
  for (const internal::TokenLogprob& entry : in) {
    RETURN_IF_ERROR(CheckRange("top.token", int64_t{entry.token()}, 0, kTokenMax));
    RETURN_IF_ERROR(CheckFinite("top.logprob", entry.logprob()));
    top.push_back({entry.token(), entry.logprob()});
  }
  return top;
}

}  // namespace headgate::wire
