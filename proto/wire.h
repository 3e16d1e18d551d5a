// The only code that converts wire messages to base types and back. Messages from the wire are not
// trusted: every FromWire checks ranges and sizes and returns INVALID_ARGUMENT naming the field.
#pragma once

#include "absl/status/statusor.h"
#include "base/group_shape.h"
#include "base/request.h"
#include "base/stats.h"
#include "base/step.h"
#include "headgate/internal/cluster.pb.h"

namespace headgate {

// What one rank says when it is ready: its own shape, and what all ranks must agree on.
struct RankReady {
  Epoch epoch = 0;
  RankShape shape;
  int64_t page_tokens = 0;
  int64_t max_positions = 0;
  int64_t vocab = 0;
  std::string model;
};

void ToWire(const StepPlan& plan, internal::StepPlan& out);
absl::StatusOr<StepPlan> FromWire(const internal::StepPlan& in);

void ToWire(const StepResult& result, internal::StepResult& out);
absl::StatusOr<StepResult> FromWire(const internal::StepResult& in);

void ToWire(const RankReady& ready, internal::Ready& out);
absl::StatusOr<RankReady> FromWire(const internal::Ready& in);

// Deadlines travel as time left: `now` is the sender's or receiver's clock.
void ToWire(const Request& request, absl::Time now, internal::Request& out);
absl::StatusOr<Request> FromWire(const internal::Request& in, absl::Time now);

void ToWire(const TokenEvent& event, internal::TokenEvent& out);
absl::StatusOr<TokenEvent> FromWire(const internal::TokenEvent& in);

void ToWire(const SchedulerStats& stats, internal::Load& out);
// Fills the fields that travel; histograms stay empty.
SchedulerStats FromWire(const internal::Load& in);

}  // namespace headgate
