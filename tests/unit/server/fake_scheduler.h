// A scheduler for tests: answers every request with the bytes of `script`, one token per message,
// and remembers what it was told. Its stream can be cut, stopped and made to stutter. Thread safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/check.h"
#include "headgate/internal/cluster.grpc.pb.h"

namespace headgate {

class FakeScheduler final : public internal::Scheduler::Service {
 public:
  explicit FakeScheduler(std::string address) : address_(std::move(address)) { Listen(); }
  ~FakeScheduler() override { Stop(); }

  void Listen() {
    stopping_ = false;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    CHECK(server_ != nullptr);
  }

  // As if the process were killed.
  void Stop() {
    if (server_ == nullptr) return;
    stopping_ = true;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

  std::atomic<int> token_us = 0;         // pause before each token
  std::atomic<int64_t> stop_after = -1;  // no token of this index or later is sent
  std::atomic<int> groups_ready = 1;
  std::atomic<bool> repeat_tokens = false;
  std::atomic<bool> fail_requests = false;
  void set_script(std::string script) {
    std::lock_guard lock(mutex_);
    script_ = std::move(script);
  }

  std::vector<internal::Request> requests() const {
    std::lock_guard lock(mutex_);
    return requests_;
  }
  size_t cancels() const {
    std::lock_guard lock(mutex_);
    return cancels_;
  }
  size_t live() const {
    std::lock_guard lock(mutex_);
    return live_;
  }

  grpc::Status Attach(grpc::ServerContext* context,
                      grpc::ServerReaderWriter<internal::SchedulerMessage, internal::ServerMessage>*
                          stream) override {
    internal::ServerMessage hello;
    if (!stream->Read(&hello) || !hello.has_hello()) return grpc::Status::CANCELLED;
    internal::SchedulerMessage out;
    out.mutable_welcome()->set_model("m");
    stream->Write(out);
    out.mutable_load()->set_groups_ready(static_cast<uint64_t>(groups_ready));
    stream->Write(out);
    Calls calls;
    std::atomic<bool> over = false;
    std::thread writer([&] { WriteTokens(context, stream, calls, over); });
    internal::ServerMessage message;
    while (stream->Read(&message)) Take(message, calls);
    over = true;
    writer.join();
    std::lock_guard lock(mutex_);
    live_ -= calls.size();
    return grpc::Status::OK;
  }

 private:
  struct Call {
    internal::Request request;
    int64_t next = 0;
  };
  using Calls = std::map<uint64_t, Call>;  // guarded by mutex_
  using Stream = grpc::ServerReaderWriter<internal::SchedulerMessage, internal::ServerMessage>;

  void Take(const internal::ServerMessage& message, Calls& calls) {
    std::lock_guard lock(mutex_);
    if (message.has_request()) {
      requests_.push_back(message.request());
      CHECK(calls.count(message.request().id()) == 0) << "a live id came again";
      calls[message.request().id()] = {message.request(), message.request().emitted_size()};
      ++live_;
    } else if (message.has_cancel()) {
      ++cancels_;
      live_ -= calls.erase(message.cancel().id());
    }
  }

  void WriteTokens(grpc::ServerContext* context, Stream* stream, Calls& calls,
                   const std::atomic<bool>& over) {
    while (!over && !stopping_ && !context->IsCancelled()) {
      internal::SchedulerMessage out;
      {
        std::lock_guard lock(mutex_);
        for (auto it = calls.begin(); it != calls.end();) {
          const bool last = Advance(it->second, *out.mutable_tokens());
          live_ -= last ? 1 : 0;
          it = last ? calls.erase(it) : std::next(it);
        }
      }
      if (out.tokens().events_size() > 0) stream->Write(out);
      std::this_thread::sleep_for(std::chrono::microseconds(std::max(token_us.load(), 20)));
    }
  }

  // True when the request has ended.
  bool Advance(Call& call, internal::TokenBatch& batch) {
    const internal::Request& request = call.request;
    if (fail_requests) {
      internal::TokenEvent* event = batch.add_events();
      event->set_request(request.id());
      event->set_finish(3);
      event->set_status_code(8);
      event->set_status_message("scheduler: the queue is full");
      event->set_retry_after_ms(1500);
      return true;
    }
    if (request.score()) {
      internal::TokenEvent* event = batch.add_events();
      event->set_request(request.id());
      event->set_finish(2);
      for (int i = 1; i < request.prompt_size(); ++i) {
        event->add_prompt_logprobs(-0.5f * static_cast<float>(i));
        event->add_prompt_top(request.prompt(i));
      }
      return true;
    }
    if (stop_after >= 0 && call.next >= stop_after) return false;
    const auto index = static_cast<size_t>(call.next);
    const int32_t token =
        index < script_.size() ? static_cast<int32_t>(static_cast<uint8_t>(script_[index])) : 256;
    for (int copies = repeat_tokens ? 2 : 1; copies > 0; --copies) {
      internal::TokenEvent* event = batch.add_events();
      event->set_request(request.id());
      event->set_has_token(true);
      event->set_token_index(call.next);
      event->set_token(token);
      event->set_logprob(-1.25f);
    }
    ++call.next;
    const auto& stops = request.stop_tokens();
    const bool stopped = std::find(stops.begin(), stops.end(), token) != stops.end();
    if (!stopped && call.next < request.max_tokens()) return false;
    internal::TokenEvent* end = batch.add_events();
    end->set_request(request.id());
    end->set_finish(stopped ? 1 : 2);
    return true;
  }

  const std::string address_;
  std::unique_ptr<grpc::Server> server_;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::string script_ = "hello";
  std::vector<internal::Request> requests_;
  size_t cancels_ = 0;
  size_t live_ = 0;
};

}  // namespace headgate
