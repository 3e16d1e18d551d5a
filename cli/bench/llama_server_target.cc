#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/bench/serve_target.h"

namespace headgate {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr int kHttp11 = 11;

class LlamaServerTarget final : public ServeTarget {
 public:
  LlamaServerTarget(std::string host, std::string port)
      : host_(std::move(host)), port_(std::move(port)) {}

  std::string name() const override { return "llama-server"; }

  absl::StatusOr<StreamTimes> Stream(std::span<const int32_t> prompt, int64_t max_tokens) override {
    try {
      return StreamOrThrow(prompt, max_tokens);
    } catch (const std::exception& e) {
      return absl::UnavailableError(
          absl::StrCat("llama-server at ", host_, ":", port_, ": ", e.what()));
    }
  }

 private:
  http::request<http::string_body> Request(std::span<const int32_t> prompt,
                                           int64_t max_tokens) const {
    const nlohmann::json body = {{"prompt", std::vector<int32_t>(prompt.begin(), prompt.end())},
                                 {"n_predict", max_tokens},
                                 {"temperature", 0.0},
                                 {"ignore_eos", true},
                                 {"cache_prompt", false},
                                 {"stream", true}};
    http::request<http::string_body> request{http::verb::post, "/completion", kHttp11};
    request.set(http::field::host, host_);
    request.set(http::field::content_type, "application/json");
    request.set(http::field::connection, "close");
    request.body() = body.dump();
    request.prepare_payload();
    return request;
  }

  // Reads server-sent events: one JSON object per "data: " line; the last one has the token count.
  StreamTimes StreamOrThrow(std::span<const int32_t> prompt, int64_t max_tokens) const {
    asio::io_context io;
    tcp::socket socket(io);
    const absl::Time start = absl::Now();
    asio::connect(socket, tcp::resolver(io).resolve(host_, port_));
    socket.set_option(tcp::no_delay(true));
    http::write(socket, Request(prompt, max_tokens));

    beast::flat_buffer buffer;
    http::response_parser<http::buffer_body> parser;
    http::read_header(socket, buffer, parser);
    if (parser.get().result() != http::status::ok) {
      throw std::runtime_error(absl::StrCat("HTTP status ", parser.get().result_int()));
    }
    StreamTimes times;
    std::string text;
    char chunk[16384];
    while (!parser.is_done()) {
      parser.get().body().data = chunk;
      parser.get().body().size = sizeof chunk;
      beast::error_code error;
      http::read_some(socket, buffer, parser, error);
      if (error && error != http::error::need_buffer) throw beast::system_error(error);
      const size_t got = sizeof chunk - parser.get().body().size;
      if (got > 0 && text.empty()) times.first_token = absl::Now() - start;
      text.append(chunk, got);
    }
    times.total = absl::Now() - start;
    const size_t last = text.rfind("data: ");
    if (last == std::string::npos) throw std::runtime_error("no event in the answer");
    const std::string line = text.substr(last + 6, text.find('\n', last) - last - 6);
    times.tokens = nlohmann::json::parse(line).at("tokens_predicted").get<int64_t>();
    return times;
  }

  const std::string host_;
  const std::string port_;
};

}  // namespace

std::unique_ptr<ServeTarget> MakeLlamaServerTarget(const std::string& host,
                                                   const std::string& port) {
  return std::make_unique<LlamaServerTarget>(host, port);
}

}  // namespace headgate
