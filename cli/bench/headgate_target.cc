#include <grpcpp/grpcpp.h>

#include "absl/time/clock.h"
#include "cli/bench/serve_target.h"
#include "headgate/v1/inference.grpc.pb.h"

namespace headgate {
namespace {

class HeadgateTarget final : public ServeTarget {
 public:
  explicit HeadgateTarget(const std::string& address)
      : stub_(v1::Inference::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {}

  std::string name() const override { return "headgate"; }

  absl::StatusOr<StreamTimes> Stream(std::span<const int32_t> prompt, int64_t max_tokens) override {
    v1::GenerateRequest request;
    request.mutable_tokens()->mutable_ids()->Assign(prompt.begin(), prompt.end());
    request.set_max_tokens(static_cast<int32_t>(max_tokens));
    request.set_ignore_eos(true);
    grpc::ClientContext context;
    const absl::Time start = absl::Now();
    StreamTimes times;
    auto reader = stub_->Generate(&context, request);
    v1::GenerateResponse response;
    while (reader->Read(&response)) {
      if (times.tokens == 0 && response.tokens_size() > 0) times.first_token = absl::Now() - start;
      times.tokens += response.tokens_size();
    }
    times.total = absl::Now() - start;
    const grpc::Status status = reader->Finish();
    if (!status.ok()) {
      return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                          status.error_message());
    }
    return times;
  }

 private:
  std::unique_ptr<v1::Inference::Stub> stub_;
};

}  // namespace

std::unique_ptr<ServeTarget> MakeHeadgateTarget(const std::string& address) {
  return std::make_unique<HeadgateTarget>(address);
}

}  // namespace headgate
