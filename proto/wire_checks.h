// Range checks shared by the wire conversions, and the limits that both ends of a link keep to.
// Pure functions; any thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/sampling_params.h"
#include "base/step.h"
#include "headgate/internal/cluster.pb.h"

namespace headgate::wire {

inline constexpr int64_t kTokensMax = int64_t{1} << 22;     // of one request or chunk
inline constexpr int64_t kPositionsMax = int64_t{1} << 40;  // of a sequence
inline constexpr int64_t kSequencesMax = 1 << 16;           // in one step
inline constexpr int64_t kReleasesMax = 1 << 20;            // in one step
inline constexpr int64_t kQueuesMax = 64;                   // that one rank tells of
inline constexpr size_t kQueueNameBytesMax = 64;
inline constexpr int64_t kTopLogprobsMax = 20;
inline constexpr int64_t kStopTokensMax = 1024;
inline constexpr int64_t kTenantBytesMax = 256;
inline constexpr int64_t kModelBytesMax = 1024;
inline constexpr int64_t kStatusBytesMax = 4096;
inline constexpr int64_t kRowGroupsMax = 1 << 16;
inline constexpr int64_t kRanksMax = 4096;
inline constexpr int64_t kTokenMax = std::numeric_limits<TokenId>::max();
inline constexpr int64_t kRetryMsMax = 3'600'000;                       // an hour
inline constexpr int64_t kDeadlineMsMax = int64_t{7} * 86'400'000;      // a week
inline constexpr int64_t kStepNsMax = int64_t{86'400} * 1'000'000'000;  // a day

// INVALID_ARGUMENT naming `field` unless lo <= value <= hi.
absl::Status CheckRange(const char* field, int64_t value, int64_t lo, int64_t hi);
absl::Status CheckRange(const char* field, double value, double lo, double hi);
absl::Status CheckFinite(const char* field, float value);
// Every element in [lo, kTokenMax], and at most `size_max` of them.
absl::Status CheckTokens(const char* field, const google::protobuf::RepeatedField<int32_t>& tokens,
                         int64_t lo, int64_t size_max);
absl::Status CheckFinite(const char* field, const google::protobuf::RepeatedField<float>& values);

void ToWire(const SamplingParams& params, internal::SamplingParams& out);
absl::StatusOr<SamplingParams> FromWire(const internal::SamplingParams& in);

void ToWire(const PageStats& stats, internal::PageStats& out);
// INVALID_ARGUMENT when the pages do not add up: total = free + referenced + pending_free.
absl::StatusOr<PageStats> FromWire(const internal::PageStats& in);

void ToWire(const std::vector<TokenLogprob>& top,
            google::protobuf::RepeatedPtrField<internal::TokenLogprob>& out);
absl::StatusOr<std::vector<TokenLogprob>> FromWire(
    const google::protobuf::RepeatedPtrField<internal::TokenLogprob>& in);

}  // namespace headgate::wire
