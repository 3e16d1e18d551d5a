// Rows of a table as they are measured, or one JSON array at the end. One thread.
#pragma once

#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace headgate {

class Report {
 public:
  explicit Report(bool json) : json_(json) {}
  void Add(const std::string& line, nlohmann::json values) {
    if (json_) {
      rows_.push_back(std::move(values));
    } else {
      std::cout << line << std::endl;
    }
  }
  void Finish() const {
    if (json_) std::cout << rows_ << "\n";
  }

 private:
  const bool json_;
  nlohmann::json rows_ = nlohmann::json::array();
};

}  // namespace headgate
