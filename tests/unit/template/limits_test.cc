// A template that is built to exhaust the server must end in a status, soon and in little memory.
#include <string>

#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/template/chat_template.h"

namespace headgate {
namespace {

using nlohmann::ordered_json;

absl::Status Outcome(std::string_view source, const ordered_json& context = ordered_json::object(),
                     const TemplateLimits& limits = {}) {
  const absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(source, limits);
  if (!parsed.ok()) return parsed.status();
  return parsed->Render(context, ManualClock()).status();
}

std::string Repeat(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(TemplateLimits, HostileTemplatesAreStopped) {
  const std::string loops = Repeat("{% for a in range(100000) %}", 4) + Repeat("{% endfor %}", 4);
  for (const std::string& source : {
           loops,
           std::string("{{ range(1000000000) | length }}"),
           std::string("{{ 'a' * 1000000000 }}"),
           std::string("{{ 'a' * 9223372036854775807 }}"),
           std::string("{{ [1] * 1000000000 }}"),
           std::string("{{ [1] * 9223372036854775807 }}"),
           std::string("{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(100) %}"
                       "{% set ns.s = ns.s + ns.s %}{% endfor %}"),
           std::string("{% set ns = namespace(s=[1]) %}{% for i in range(100) %}"
                       "{% set ns.s = ns.s + ns.s %}{% endfor %}"),
           std::string("{% set ns = namespace(s=[1]) %}{% for i in range(100000) %}"
                       "{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}"),
           std::string("{% set ns = namespace(s={}) %}{% for i in range(100000) %}"
                       "{% set ns.s = {'a': ns.s} %}{% endfor %}{{ ns.s | tojson }}"),
           std::string("{% set ns = namespace() %}{% set ns.s = ns %}{{ ns }}"),
           std::string("{% set x = 'a' * 100000 %}{{ ([x] * 1000) | string | length }}"),
           std::string("{% set x = 'a' * 100000 %}{{ ([x] * 1000) | tojson | length }}"),
           std::string("{% set x = 'a' * 100000 %}{{ ([x] * 1000) | join(x) | length }}"),
           std::string("{% set x = 'a' * 100000 %}{{ x | replace('a', x) }}"),
           std::string("{% set x = 'a' * 100000 %}{{ x | replace('', x) }}"),
           std::string("{% for i in range(100000) %}{{ 'a' * 1000 }}{% endfor %}"),
           std::string("{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}"),
           std::string("{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(0) }}"),
           std::string("{% set x = '\\n' * 1000000 %}{{ x | indent(100, blank=true) }}"),
           std::string("{% for c in 'a' * 8000000 %}{% endfor %}"),
           std::string("{{ range(100000) | map('string') | map('list') | list | unique | list }}"),
       }) {
    const absl::Time begin = absl::Now();
    const absl::Status status = Outcome(source);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << source << "\n" << status;
    EXPECT_LT(absl::Now() - begin, absl::Seconds(5)) << source;
  }
}

TEST(TemplateLimits, DeepSourceIsRefusedWithoutRecursion) {
  for (const std::string& source : {
           "{{ " + Repeat("(", 20000) + "1" + Repeat(")", 20000) + " }}",
           "{{ " + Repeat("[", 20000) + Repeat("]", 20000) + " }}",
           "{{ " + Repeat("{1:", 20000) + "1" + Repeat("}", 20000) + " }}",
           "{{ " + Repeat("not ", 20000) + "1 }}",
           "{{ " + Repeat("-", 20000) + "1 }}",
           "{{ 1" + Repeat(" + 1", 20000) + " }}",
           "{{ 1" + Repeat(" or 1", 20000) + " }}",
           "{{ 1" + Repeat(" ** 1", 20000) + " }}",
           "{{ a" + Repeat(".b", 20000) + " }}",
           "{{ a" + Repeat("|trim", 20000) + " }}",
           "{{ a" + Repeat("()", 20000) + " }}",
           "{{ a" + Repeat(" if 1", 20000) + " }}",
           "{{ 1" + Repeat(" if 1 else 1", 20000) + " }}",
           Repeat("{% if 1 %}", 20000) + Repeat("{% endif %}", 20000),
           Repeat("{% for x in y %}", 8000) + Repeat("{% endfor %}", 8000),
           "{% set " + Repeat("(", 20000) + "x" + Repeat(")", 20000) + " = 1 %}",
       }) {
    EXPECT_FALSE(ChatTemplate::Parse(source, {.template_bytes_max = 1 << 20}).ok())
        << source.substr(0, 40);
  }
}

TEST(TemplateLimits, NestedConditionalsParseInLinearTime) {
  const std::string source = "{{ " + Repeat("(", 90) + "1" + Repeat(" if 1 else 2)", 90) + " }}";
  const absl::Time begin = absl::Now();
  EXPECT_TRUE(Outcome(source).ok()) << Outcome(source);
  EXPECT_LT(absl::Now() - begin, absl::Seconds(2));
}

TEST(TemplateLimits, EachLimitIsAParameter) {
  EXPECT_EQ(Outcome("12345", {}, {.template_bytes_max = 4}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Outcome("{{ [[1]] }}").ok());
  EXPECT_FALSE(Outcome("{{ [[1]] }}", ordered_json::object(), {.nesting_max = 2}).ok());
  EXPECT_EQ(Outcome("{{ 1 }}{{ 2 }}", ordered_json::object(), {.steps_max = 3}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Outcome("12345", ordered_json::object(), {.output_bytes_max = 4}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Outcome("1234", ordered_json::object(), {.output_bytes_max = 4}).ok());
  EXPECT_EQ(Outcome("{{ range(11) }}", ordered_json::object(), {.range_max = 10}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Outcome("{{ range(10) }}", ordered_json::object(), {.range_max = 10}).ok());
  EXPECT_EQ(Outcome("{{ [[1]] }}", ordered_json::object(), {.value_depth_max = 1}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Outcome("", {{"x", {{{"y", {1}}}}}}, {.value_depth_max = 2}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Outcome("", {{"x", std::string(5000, 'x')}}, {.memory_bytes_max = 4000}).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Outcome("{{ (((1 + 1) + 1) + 1) }}", {}, {.evaluation_depth_max = 3}).code(),
            absl::StatusCode::kInvalidArgument);  // no object context
  EXPECT_EQ(Outcome("{{ 1 + (1 + (1 + 1)) }}", ordered_json::object(), {.evaluation_depth_max = 3})
                .code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(TemplateLimits, NothingButDataIsReachable) {
  for (const std::string source :
       {"{{ x.__class__.__mro__ }}", "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ self.__init__ }}", "{{ cycler.__init__ }}", "{{ range.__globals__.x }}",
        "{% include '/etc/passwd' %}", "{% import 'os' as os %}", "{% from 'os' import x %}",
        "{% extends 'x' %}", "{{ x.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('a') }}",
        "{{ ''.format_map({}) }}", "{{ '{0.__class__}'.format(1) }}", "{{ config.items() }}",
        "{{ lipsum() }}", "{% do x %}"}) {
    const ordered_json context = {{"x", {1}}, {"d", ordered_json::object()}};
    EXPECT_EQ(Outcome(source, context).code(), absl::StatusCode::kInvalidArgument) << source;
  }
}

}  // namespace
}  // namespace headgate
