#include "server/generate_stream.h"

#include <algorithm>
#include <utility>

#include "server/sampling.h"
#include "server/validation.h"

namespace headgate {
namespace {

// Smaller inputs are tokenized where they arrive: quicker than another thread's turn.
constexpr size_t kEncodeInlineBytesMax = 2048;
constexpr size_t kTokenBytes = 24;  // about what one token takes in a response

}  // namespace

GenerateStream::Reactor* GenerateStream::Accept(grpc::CallbackServerContext* context,
                                                const grpc::ByteBuffer* request,
                                                CallContext& server) {
  std::shared_ptr<GenerateStream> stream(new GenerateStream(context, server));
  {
    std::lock_guard lock(stream->mutex_);
    stream->self_ = stream;
  }
  stream->Begin(*request);
  return stream.get();
}

GenerateStream::GenerateStream(grpc::CallbackServerContext* context, CallContext& server)
    : context_(context), server_(server), started_at_(absl::Now()) {}

void GenerateStream::Begin(const grpc::ByteBuffer& request) {
  server_.counters.Started();
  const auto fail = [this](ClientError error) {
    std::lock_guard lock(mutex_);
    FailLocked(std::move(error));
  };
  if (server_.draining) return fail(errors::Draining());
  if (!ParseMessage(request, request_)) return fail(errors::BadMessage());
  if (absl::Status status = Validate(request_, server_.model, server_.limits); !status.ok()) {
    return fail(errors::FromCheck(status));
  }
  if (!request_.model().empty() && request_.model() != server_.model.name) {
    return fail(errors::UnknownModel());
  }
  server_.watch.Add([weak = weak_from_this()](absl::Time now) {
    const std::shared_ptr<GenerateStream> stream = weak.lock();
    return stream != nullptr && stream->CheckProgress(now);
  });
  if (request_.has_tokens() || request.Length() <= kEncodeInlineBytesMax) {
    return EncodeAndSubmit();
  }
  const absl::Status queued =
      server_.pool->Run([self = shared_from_this()] { self->EncodeAndSubmit(); });
  if (!queued.ok()) fail(errors::ServerFull());
}

void GenerateStream::EncodeAndSubmit() {
  {
    std::lock_guard lock(mutex_);
    if (end_.has_value()) return;  // cancelled while it waited
  }
  std::optional<ClientError> error;
  std::vector<TokenId> prompt;
  if (absl::StatusOr<std::vector<TokenId>> encoded = server_.encoder.Encode(request_);
      encoded.ok()) {
    prompt = *std::move(encoded);
    const auto size = static_cast<int64_t>(prompt.size());
    if (size == 0) error = errors::EmptyPrompt();
    if (size >= server_.model.max_positions) {
      error = errors::PromptTooLong(size, server_.model.max_positions - 1);
    }
  } else {
    error = errors::FromCheck(encoded.status());
  }
  std::unique_lock lock(mutex_);
  if (error.has_value()) return FailLocked(*std::move(error));
  if (end_.has_value()) return;  // cancelled meanwhile
  if (!request_.ignore_eos()) stop_tokens_ = server_.model.end_tokens;
  stop_tokens_.insert(stop_tokens_.end(), request_.stop_token_ids().begin(),
                      request_.stop_token_ids().end());
  if (const Tokenizer* const tokenizer = server_.encoder.tokenizer(); tokenizer != nullptr) {
    // An answer to a chat begins a text; otherwise the output goes on from the prompt.
    detokenizer_.emplace(*tokenizer, DetokenizeOptions{.at_text_start = request_.has_chat()});
  }
  if (request_.stop_size() > 0) {
    stops_.emplace(std::vector<std::string>(request_.stop().begin(), request_.stop().end()));
  }
  prompt_tokens_ = static_cast<int64_t>(prompt.size());
  id_ = server_.link->NewId();
  Request request = MakeRequest(std::move(prompt));
  pending_.set_seed(request.sampling.seed);
  submitted_ = true;
  lock.unlock();  // the link may call back at once
  server_.counters.PromptTokens(prompt_tokens_);
  const absl::Status status = server_.link->Submit(std::move(request), shared_from_this());
  lock.lock();
  if (!status.ok()) return FailLocked(errors::ServerFull());
  if (end_.has_value()) server_.link->Cancel(id_);  // ended between
}

Request GenerateStream::MakeRequest(std::vector<TokenId> prompt) const {
  Request request;
  request.id = id_;
  request.priority = request_.priority();
  const int64_t room = server_.model.max_positions - static_cast<int64_t>(prompt.size());
  request.max_tokens =
      std::min(room, request_.has_max_tokens() ? int64_t{request_.max_tokens()}
                                               : server_.limits.output_tokens_default);
  request.prompt = std::move(prompt);
  request.stop_tokens = stop_tokens_;
  request.sampling = ToSamplingParams(request_);
  request.deadline = server_.DeadlineOf(*context_);
  return request;
}

void GenerateStream::OnTokenEvent(const TokenEvent& event) {
  std::lock_guard lock(mutex_);
  if (end_.has_value()) return;
  if (event.has_token) AddTokenLocked(event);
  if (!end_.has_value()) {
    switch (event.finish) {
      case FinishReason::kNone:
        break;
      case FinishReason::kStop:
        CompleteLocked(v1::FINISH_REASON_STOP);
        break;
      case FinishReason::kLength:
        CompleteLocked(v1::FINISH_REASON_LENGTH);
        break;
      case FinishReason::kError:
        FailLocked(errors::FromScheduler(event));
        break;
    }
  }
  WriteLocked();
}

void GenerateStream::AddTokenLocked(const TokenEvent& event) {
  const absl::Time now = absl::Now();
  const bool first = output_tokens_ == 0;
  server_.counters.Token(first, now - (first ? started_at_ : last_token_at_));
  last_token_at_ = now;
  ++output_tokens_;
  v1::GeneratedToken* token = pending_.add_tokens();
  token->set_index(event.token_index);
  token->set_token_id(event.token);
  if (request_.has_logprobs()) {
    token->set_logprob(event.logprob);
    for (const TokenLogprob& entry : event.top) {
      v1::TokenAlternative* alternative = token->add_alternatives();
      alternative->set_token_id(entry.token);
      alternative->set_logprob(entry.logprob);
    }
  }
  pending_any_ = true;
  CountPendingLocked(kTokenBytes + event.top.size() * kTokenBytes);
  // An end token is not part of the text.
  const bool stops =
      std::find(stop_tokens_.begin(), stop_tokens_.end(), event.token) != stop_tokens_.end();
  if (!stops && detokenizer_.has_value()) AddTextLocked(detokenizer_->Push(event.token));
  if (!end_.has_value() && pending_bytes_ > server_.limits.pending_bytes_max) {
    server_.counters.SlowReader();
    CancelRequestLocked();
    FailLocked(errors::SlowReader());
  }
}

void GenerateStream::AddTextLocked(const std::string& text) {
  const std::string certain = stops_.has_value() ? stops_->Push(text) : text;
  pending_.mutable_text()->append(certain);
  CountPendingLocked(certain.size());
  if (!stops_.has_value() || !stops_->matched()) return;
  CancelRequestLocked();
  CompleteLocked(v1::FINISH_REASON_STOP);
}

void GenerateStream::CompleteLocked(v1::FinishReason reason) {
  if (detokenizer_.has_value() && (!stops_.has_value() || !stops_->matched())) {
    const std::string rest = detokenizer_->Finish();
    std::string last = stops_.has_value() ? stops_->Push(rest) : rest;
    if (stops_.has_value()) last += stops_->Finish();
    pending_.mutable_text()->append(last);
  }
  pending_.set_finish_reason(reason);
  pending_.mutable_usage()->set_prompt_tokens(prompt_tokens_);
  pending_.mutable_usage()->set_output_tokens(output_tokens_);
  pending_any_ = true;
  end_ = ClientError{};
}

void GenerateStream::FailLocked(ClientError error) {
  if (!end_.has_value()) end_ = std::move(error);
  // What is pending is dropped: it may be large, and a failed answer is no answer.
  failed_ = true;
  ForgetPendingLocked();
  WriteLocked();
}

void GenerateStream::CancelRequestLocked() {
  if (submitted_) server_.link->Cancel(id_);
}

void GenerateStream::CountPendingLocked(size_t bytes) {
  pending_bytes_ += bytes;
  server_.counters.Unwritten(static_cast<int64_t>(bytes));
}

void GenerateStream::ForgetPendingLocked() {
  server_.counters.Unwritten(-static_cast<int64_t>(pending_bytes_));
  pending_bytes_ = 0;
  pending_any_ = false;
  pending_.Clear();
}

void GenerateStream::WriteLocked() {
  if (writing_ || finished_) return;
  if (!end_.has_value()) {
    if (!pending_any_) return;
    outgoing_ = SerializeMessage(pending_);
    ForgetPendingLocked();
    writing_ = true;
    write_began_at_ = absl::Now();
    StartWrite(&outgoing_);
    return;
  }
  finished_ = true;
  if (failed_) return Finish(ToGrpc(*end_, context_));
  outgoing_ = SerializeMessage(pending_);
  ForgetPendingLocked();
  StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), grpc::Status::OK);
}

void GenerateStream::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok && !end_.has_value()) {
    CancelRequestLocked();
    return FailLocked(errors::Cancelled());
  }
  WriteLocked();
}

void GenerateStream::OnCancel() {
  std::lock_guard lock(mutex_);
  if (end_.has_value()) return;
  CancelRequestLocked();
  FailLocked(errors::Cancelled());
}

bool GenerateStream::CheckProgress(absl::Time now) {
  std::lock_guard lock(mutex_);
  if (finished_) return false;
  if (!writing_ || now - write_began_at_ < server_.limits.write_stall_max) return true;
  if (!end_.has_value()) {
    server_.counters.SlowReader();
    CancelRequestLocked();
    FailLocked(errors::SlowReader());
  }
  if (stalled_) {
    context_->TryCancel();  // it did not even take the status: let go of the buffers
    return false;
  }
  stalled_ = true;  // one more period to read the status
  return true;
}

void GenerateStream::OnDone() {
  std::shared_ptr<GenerateStream> self;
  absl::Status status = absl::OkStatus();
  {
    std::lock_guard lock(mutex_);
    self = std::move(self_);
    if (end_.has_value()) status = end_->status;
  }
  server_.counters.Ended(status, absl::Now() - started_at_);
}

}  // namespace headgate
