#include "cli/interrupt_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <utility>

#include "base/check.h"

namespace headgate {

InterruptWatch::InterruptWatch(std::function<void()> on_interrupt)
    : on_interrupt_(std::move(on_interrupt)) {
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  CHECK(stop_fd_ >= 0) << "no file descriptor is left";
  thread_ = std::thread([this] {
    pollfd files[] = {{signals_.fd(), POLLIN, 0}, {stop_fd_, POLLIN, 0}};
    while (true) {
      if (poll(files, 2, -1) < 0) continue;
      if (files[1].revents != 0) return;
      if (signals_.Take()) on_interrupt_();
    }
  });
}

InterruptWatch::~InterruptWatch() {
  const uint64_t one = 1;
  (void)!write(stop_fd_, &one, sizeof(one));
  thread_.join();
  close(stop_fd_);
}

}  // namespace headgate
