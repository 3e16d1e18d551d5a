#include "server/call_context.h"

#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>

namespace headgate {

absl::Time CallContext::DeadlineOf(const grpc::CallbackServerContext& context) const {
  const absl::Time now = absl::Now();
  const absl::Time asked = absl::FromChrono(context.deadline());
  // Without a deadline gRPC gives the largest time it knows.
  if (asked > now + absl::Hours(24 * 365)) return now + limits.deadline_default;
  return std::min(asked, now + limits.deadline_max);
}

bool ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message& out) {
  grpc::ByteBuffer copy(bytes);  // shares the slices
  grpc::ProtoBufferReader reader(&copy);
  return reader.status().ok() && out.ParseFromZeroCopyStream(&reader);
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace headgate
