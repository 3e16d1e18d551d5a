#include "worker/collective/gloo.h"

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
constexpr size_t kSegment = kSegmentBytes / sizeof(float);
// From here on each rank adds up a slice, so that a value crosses a link twice, whatever the number
// of ranks; below, every rank adds up everything, which takes one exchange less.
constexpr size_t kLarge = 4 * kSegment;

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

  // One message per segment; none when there is nothing.
  void SendAll(std::span<const std::byte> values) {
    for (size_t at = 0; at < values.size(); at += kSegmentBytes) {
      const size_t bytes = std::min(kSegmentBytes, values.size() - at);
      std::memcpy(send_.data(), values.data() + at, bytes);
      send_buffer_->send(0, bytes);
      send_buffer_->waitSend();
    }
  }
  void ReceiveAll(std::span<std::byte> values) {
    for (size_t at = 0; at < values.size(); at += kSegmentBytes) {
      std::memcpy(values.data() + at, Receive(), std::min(kSegmentBytes, values.size() - at));
    }
  }
  // The next message, valid until the next call.
  const std::byte* Receive() {
    recv_buffer_->waitRecv();
    return recv_.data();
  }

 private:
  std::vector<std::byte> send_;
  std::vector<std::byte> recv_;
  std::unique_ptr<gloo::transport::Buffer> send_buffer_;
  std::unique_ptr<gloo::transport::Buffer> recv_buffer_;
};

class GlooCollective final : public Collective {
 public:
  explicit GlooCollective(GlooContext context)
      : context_(std::move(context)), links_(static_cast<size_t>(context_->size)) {
    for (int peer = 0; peer < size(); ++peer) {
      if (peer != rank()) {
        links_[static_cast<size_t>(peer)] = std::make_unique<Link>(*context_, peer);
      }
    }
  }

  int rank() const override { return context_->rank; }
  int size() const override { return context_->size; }

  absl::Status AllReduceSum(std::span<float> values) override {
    return Guard("all-reduce", [&] {
      if (values.size() > kLarge) return SumBySlices(values);
      for (size_t at = 0; at < values.size(); at += kSegment) {
        SumHere(Segment(values, at / kSegment),
                [&](size_t) { return Segment(values, at / kSegment); });
      }
    });
  }

  absl::Status GatherToRoot(std::span<const float> values, std::span<const int64_t> counts,
                            std::span<float> out) override {
    return Guard("gather", [&] {
      if (rank() != 0) {
        links_[0]->SendAll(std::as_bytes(values));
        return;
      }
      size_t at = values.size();
      CHECK_LE(values.size(), out.size());
      std::copy(values.begin(), values.end(), out.begin());
      for (size_t peer = 1; peer < links_.size(); ++peer) {
        const size_t count = static_cast<size_t>(counts[peer]);
        CHECK_LE(at + count, out.size());
        links_[peer]->ReceiveAll(std::as_writable_bytes(out.subspan(at, count)));
        at += count;
      }
    });
  }

  absl::Status Broadcast(std::span<std::byte> values) override {
    return Guard("broadcast", [&] {
      if (rank() != 0) return links_[0]->ReceiveAll(values);
      for (size_t peer = 1; peer < links_.size(); ++peer) {
        links_[peer]->SendAll(values);
      }
    });
  }

  absl::Status Barrier() override {
    float nothing = 0.0f;
    return AllReduceSum({&nothing, 1});
  }

 private:
  // The k-th segment; empty beyond the end.
  template <typename T>
  static std::span<T> Segment(std::span<T> values, size_t k) {
    const size_t begin = std::min(k * kSegment, values.size());
    return values.subspan(begin, std::min(kSegment, values.size() - begin));
  }

  // Sends outgoing(peer) to every peer, then own += what the peers sent, in rank order: the sum has
  // the same bits wherever it is made.
  template <typename Outgoing>
  void SumHere(std::span<float> own, const Outgoing& outgoing) {
    for (size_t peer = 0; peer < links_.size(); ++peer) {
      if (links_[peer] != nullptr) links_[peer]->SendAll(std::as_bytes(outgoing(peer)));
    }
    if (own.empty()) return;
    sum_.assign(own.size(), 0.0f);
    for (const auto& link : links_) {
      const float* theirs =
          link == nullptr ? own.data() : reinterpret_cast<const float*>(link->Receive());
      for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += theirs[i];
    }
    std::copy(sum_.begin(), sum_.end(), own.begin());
  }

  // Reduce-scatter, then all-gather: rank r adds up slice r and sends it to the others.
  void SumBySlices(std::span<float> values) {
    const size_t ranks = links_.size();
    const auto slice = [&](size_t r) {
      const size_t begin = values.size() * r / ranks;
      return values.subspan(begin, values.size() * (r + 1) / ranks - begin);
    };
    const std::span<float> own = slice(static_cast<size_t>(rank()));
    const size_t segments = (values.size() / ranks + 1 + kSegment - 1) / kSegment;
    for (size_t k = 0; k < segments; ++k) {
      SumHere(Segment(own, k), [&](size_t peer) { return Segment(slice(peer), k); });
    }
    for (size_t k = 0; k < segments; ++k) {
      for (const auto& link : links_) {
        if (link != nullptr) link->SendAll(std::as_bytes(Segment(own, k)));
      }
      for (size_t peer = 0; peer < ranks; ++peer) {
        if (links_[peer] != nullptr) {
          links_[peer]->ReceiveAll(std::as_writable_bytes(Segment(slice(peer), k)));
        }
      }
    }
  }

  const GlooContext context_;
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
    gloo::rendezvous::PrefixStore store(absl::StrCat(epoch, "-links"), folder);
    auto context = std::make_shared<gloo::rendezvous::Context>(options.rank, options.size);
    context->setTimeout(absl::ToChronoMilliseconds(options.timeout));
    context->connectFullMesh(store, device);
    collective = std::make_unique<GlooCollective>(std::move(context));
  }));
  RETURN_IF_ERROR(met);
  return collective;
}

}  // namespace headgate
