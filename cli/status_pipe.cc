#include "cli/status_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace headgate {

static_assert(sizeof(StatusBeat) == 512);

bool TellCause(int fd, const absl::Status& status) {
  if (fd < 0) return false;
  StatusBeat beat;
  status.message().copy(beat.cause, sizeof beat.cause - 1);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return write(fd, &beat, sizeof beat) == sizeof beat;
}

struct StatusWriter::State {
  std::mutex mutex;
  std::condition_variable stop_requested;
  bool stop = false;
  std::thread thread;
};

StatusWriter::StatusWriter(int fd, absl::Duration period, std::function<StatusBeat()> read)
    : state_(std::make_unique<State>()) {
  if (fd < 0) return;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  state_->thread = std::thread([state = state_.get(), fd, period, read = std::move(read)] {
    std::unique_lock lock(state->mutex);
    while (!state->stop) {
      const StatusBeat beat = read();
      [[maybe_unused]] const ssize_t written = write(fd, &beat, sizeof beat);
      state->stop_requested.wait_for(lock, absl::ToChronoMilliseconds(period),
                                     [state] { return state->stop; });
    }
  });
}

StatusWriter::~StatusWriter() {
  if (!state_->thread.joinable()) return;
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->stop_requested.notify_all();
  state_->thread.join();
}

}  // namespace headgate
