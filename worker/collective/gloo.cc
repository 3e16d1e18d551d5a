#include "worker/collective/gloo.h"

#include <gloo/allreduce.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/rendezvous/prefix_store.h>
#include <gloo/transport/tcp/device.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

using GlooContext = std::shared_ptr<gloo::rendezvous::Context>;

// Both sides send a segment before they read one, so two segments must fit the socket buffers.
constexpr size_t kSegmentBytes = 16 * 1024;
// From here on Gloo's pipelined ring is faster than segments one after the other.
constexpr size_t kLargeBytes = 64 * 1024;

// Runs `body`, which calls Gloo, and turns what it throws into a status.
template <typename Body>
absl::Status Guard(const char* what, const Body& body) {
  try {
    body();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("gloo: ", what, " failed: ", error.what()));
  }
}

// A synchronous pair with one peer: the caller's thread reads and writes the socket.
class Link {
 public:
  Link(gloo::Context& context, int peer) : send_(kSegmentBytes), recv_(kSegmentBytes) {
    auto& pair = context.getPair(peer);
    pair->setSync(true, /*busyPoll=*/false);
    send_buffer_ = pair->createSendBuffer(0, send_.data(), send_.size());
    recv_buffer_ = pair->createRecvBuffer(0, recv_.data(), recv_.size());
  }

  void Send(const std::byte* data, size_t bytes) {
    std::memcpy(send_.data(), data, bytes);
    send_buffer_->send(0, bytes);
    send_buffer_->waitSend();
  }
  const std::byte* Receive() {
    recv_buffer_->waitRecv();
    return recv_.data();
  }
  void SendAll(const std::byte* data, size_t bytes) {
    for (size_t at = 0; at < bytes; at += kSegmentBytes) {
      Send(data + at, std::min(kSegmentBytes, bytes - at));
    }
  }
  void ReceiveAll(std::byte* data, size_t bytes) {
    for (size_t at = 0; at < bytes; at += kSegmentBytes) {
      std::memcpy(data + at, Receive(), std::min(kSegmentBytes, bytes - at));
    }
  }

 private:
  std::vector<std::byte> send_;
  std::vector<std::byte> recv_;
  std::unique_ptr<gloo::transport::Buffer> send_buffer_;
  std::unique_ptr<gloo::transport::Buffer> recv_buffer_;
};

class GlooCollective final : public Collective {
 public:
  // `small` becomes synchronous; `large` stays with Gloo's event loop.
  GlooCollective(GlooContext small, GlooContext large)
      : small_(std::move(small)), large_(std::move(large)), links_(static_cast<size_t>(size())) {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank()) links_[static_cast<size_t>(peer)] = std::make_unique<Link>(*small_, peer);
    }
  }

  int rank() const override { return small_->rank; }
  int size() const override { return small_->size; }

  absl::Status AllReduceSum(std::span<float> values) override {
    return Guard("all-reduce", [&] {
      if (values.size_bytes() > kLargeBytes) return Ring(values);
      constexpr size_t kSegment = kSegmentBytes / sizeof(float);
      for (size_t at = 0; at < values.size(); at += kSegment) {
        Exchange(values.subspan(at, std::min(kSegment, values.size() - at)));
      }
    });
  }

  absl::Status GatherToRoot(std::span<const float> values, std::span<const int64_t> counts,
                            std::span<float> out) override {
    return Guard("gather", [&] {
      if (rank() != 0) {
        links_[0]->SendAll(std::as_bytes(values).data(), values.size_bytes());
        return;
      }
      size_t at = values.size();
      CHECK_LE(values.size(), out.size());
      std::copy(values.begin(), values.end(), out.begin());
      for (size_t peer = 1; peer < links_.size(); ++peer) {
        const size_t count = static_cast<size_t>(counts[peer]);
        CHECK_LE(at + count, out.size());
        links_[peer]->ReceiveAll(std::as_writable_bytes(out.subspan(at, count)).data(),
                                 count * sizeof(float));
        at += count;
      }
    });
  }

  absl::Status Broadcast(std::span<std::byte> values) override {
    return Guard("broadcast", [&] {
      if (rank() != 0) return links_[0]->ReceiveAll(values.data(), values.size());
      for (size_t peer = 1; peer < links_.size(); ++peer) {
        links_[peer]->SendAll(values.data(), values.size());
      }
    });
  }

  absl::Status Barrier() override {
    float nothing = 0.0f;
    return AllReduceSum({&nothing, 1});
  }

 private:
  // All ranks send to all; each adds up in rank order, so every rank gets the same bits.
  void Exchange(std::span<float> values) {
    const std::span<const std::byte> bytes = std::as_bytes(values);
    for (const auto& link : links_) {
      if (link != nullptr) link->Send(bytes.data(), bytes.size());
    }
    sum_.assign(values.size(), 0.0f);
    for (const auto& link : links_) {
      const float* theirs =
          link == nullptr ? values.data() : reinterpret_cast<const float*>(link->Receive());
      for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += theirs[i];
    }
    std::copy(sum_.begin(), sum_.end(), values.begin());
  }

  // Reduce-scatter, then all-gather: each element is summed on one rank and copied to the others.
  void Ring(std::span<float> values) {
    gloo::AllreduceOptions options(large_);
    float* data = values.data();
    options.setOutput(data, values.size());
    options.setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
    options.setReduceFunction([](void* out, const void* a, const void* b, size_t count) {
      gloo::sum<float>(out, a, b, count);
    });
    gloo::allreduce(options);
  }

  const GlooContext small_;
  const GlooContext large_;
  std::vector<std::unique_ptr<Link>> links_;  // by rank; null at our own
  std::vector<float> sum_;
};

absl::Status Check(const GlooOptions& options) {
  if (!(options.size >= 2 && options.size <= 64)) {
    return absl::InvalidArgumentError(
        absl::StrCat("gloo: a group of ", options.size, " ranks; 2 to 64 are possible"));
  }
  if (!(0 <= options.rank && options.rank < options.size)) {
    return absl::InvalidArgumentError(
        absl::StrCat("gloo: rank ", options.rank, " in a group of ", options.size));
  }
  std::error_code error;
  if (!std::filesystem::is_directory(options.rendezvous, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat("gloo: rendezvous folder ", options.rendezvous, " does not exist"));
  }
  return absl::OkStatus();
}

// Gloo writes to sockets without MSG_NOSIGNAL: a dead peer would end this process too.
void IgnoreBrokenPipes() {
  struct sigaction action = {};
  sigaction(SIGPIPE, nullptr, &action);
  if (action.sa_handler != SIG_DFL) return;
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

// Waits for all ranks with the long timeout, so that connecting can use the short one.
absl::Status AwaitPeers(gloo::rendezvous::Store& store, const GlooOptions& options) {
  constexpr std::chrono::milliseconds kSlice(200);
  RETURN_IF_ERROR(
      Guard("announcing itself", [&] { store.set(absl::StrCat("here/", options.rank), {'1'}); }));
  std::vector<std::string> keys;
  for (int rank = 0; rank < options.size; ++rank) keys.push_back(absl::StrCat("here/", rank));
  const absl::Time deadline = absl::Now() + options.meet_timeout;
  while (true) {
    const absl::Status met = Guard("waiting for peers", [&] { store.wait(keys, kSlice); });
    if (met.ok()) return met;
    if (options.cancelled && options.cancelled()) {
      return absl::CancelledError("gloo: meeting the other ranks was cancelled");
    }
    if (absl::Now() >= deadline) return met;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Collective>> MakeGlooCollective(const GlooOptions& options) {
  RETURN_IF_ERROR(Check(options));
  IgnoreBrokenPipes();
  std::unique_ptr<Collective> collective;
  absl::Status met;
  RETURN_IF_ERROR(Guard("meeting the other ranks", [&] {
    gloo::transport::tcp::attr listen;
    listen.hostname = options.host;
    std::shared_ptr<gloo::transport::Device> device = gloo::transport::tcp::CreateDevice(listen);
    gloo::rendezvous::FileStore folder(options.rendezvous);
    const std::string epoch = absl::StrCat("epoch-", options.epoch);
    gloo::rendezvous::PrefixStore root(epoch, folder);
    met = AwaitPeers(root, options);
    if (!met.ok()) return;
    const auto connect = [&](const char* name) {
      gloo::rendezvous::PrefixStore store(absl::StrCat(epoch, "-", name), folder);
      auto context = std::make_shared<gloo::rendezvous::Context>(options.rank, options.size);
      context->setTimeout(absl::ToChronoMilliseconds(options.timeout));
      context->connectFullMesh(store, device);
      return context;
    };
    GlooContext small = connect("small");
    GlooContext large = connect("large");
    collective = std::make_unique<GlooCollective>(std::move(small), std::move(large));
  }));
  RETURN_IF_ERROR(met);
  return collective;
}

}  // namespace headgate
