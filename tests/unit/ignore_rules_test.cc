#include "core/source/ignore_rules.h"

#include <string>

#include "gtest/gtest.h"

namespace pith {
namespace {

struct Case {
  const char* rules;
  // A directory if it ends with a slash.
  std::string path;
  bool ignored;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << "rules \"" << c.rules << "\", path \"" << c.path << "\"";
}

class IgnoreRulesTest : public testing::TestWithParam<Case> {};

TEST_P(IgnoreRulesTest, MatchesAsGitDoes) {
  std::string path = GetParam().path;
  const bool directory = path.ends_with('/');
  if (directory) {
    path.pop_back();
  }
  const IgnoreRules rules = IgnoreRules::Parse(GetParam().rules);
  const IgnoreRules::Rule* rule = rules.Match(path, directory);
  EXPECT_EQ(rule != nullptr && !rule->negated, GetParam().ignored);
}

INSTANTIATE_TEST_SUITE_P(Syntax, IgnoreRulesTest,
                         testing::ValuesIn<Case>({
                             {"# a\n\n  \n", "# a", false},
                             {"\\#a", "#a", true},
                             {"\\!a", "!a", true},
                             {"a  ", "a", true},
                             {"a\\ ", "a ", true},
                             {"a\\ ", "a", false},
                             {"a\\  ", "a ", true},
                             {"a\t", "a", false},
                             {"a\r\nb\r\n", "a", true},
                             {"a\r\nb\r\n", "b", true},
                             {"\xEF\xBB\xBF"
                              "a\n",
                              "a", true},
                             {"/", "a", false},
                             {"!", "a", false},
                             {"a\n!a", "a", false},
                             {"!a\na", "a", true},
                             {"A", "a", false},
                         }));

INSTANTIATE_TEST_SUITE_P(Paths, IgnoreRulesTest,
                         testing::ValuesIn<Case>({
                             {"a", "a", true},
                             {"a", "x/y/a", true},
                             {"a", "a/", true},
                             {"a/", "a", false},
                             {"a/", "x/a/", true},
                             {"/a", "a", true},
                             {"/a", "x/a", false},
                             {"x/a", "x/a", true},
                             {"x/a", "y/x/a", false},
                             {"x/a/", "x/a/", true},
                             {"x/a/", "x/a", false},
                             {"*.o", "x/y.o", true},
                             {"x/*.o", "x/y.o", true},
                             {"x/*.o", "x/y/z.o", false},
                             {"x/*", "x/y/z", false},
                             {"*", "x/y", true},
                         }));

INSTANTIATE_TEST_SUITE_P(
    Wildcards, IgnoreRulesTest,
    testing::ValuesIn<Case>({
        {"a?c", "abc", true},         {"a?c", "ac", false},
        {"/a?c", "a/c", false},       {"a*b*c", "axxbxxbxc", true},
        {"a*b*c", "axxbxxbx", false}, {"[a-c]x", "bx", true},
        {"[a-c]x", "dx", false},      {"[!a-c]x", "dx", true},
        {"[^a-c]x", "bx", false},     {"[]a]", "]", true},
        {"[!]a]", "]", false},        {"[a-]", "-", true},
        {"[\\]]", "]", true},         {"[[:digit:]a]", "7", true},
        {"[[:digit:]]", "x", false},  {"[[:alpha:][:digit:]]x", "4x", true},
        {"[abc", "[abc", false},      {"[abc", "a", false},
        {"a\\*", "a*", true},         {"a\\*", "ab", false},
        {"a\\", "a", false},
    }));

INSTANTIATE_TEST_SUITE_P(DoubleStars, IgnoreRulesTest,
                         testing::ValuesIn<Case>({
                             {"**/a", "a", true},
                             {"**/a", "x/y/a", true},
                             {"**/x/a", "y/x/a", true},
                             {"a/**", "a/", false},
                             {"a/**", "a/x", true},
                             {"a/**", "a/x/y", true},
                             {"a/**/b", "a/b", true},
                             {"a/**/b", "a/x/y/b", true},
                             {"a/**/b", "a/x/b/y", false},
                             {"/a/**/b/**/c", "a/x/b/b/y/c", true},
                             {"a**b/c", "axb/c", true},
                             {"a**b/c", "ax/b/c", false},
                             {"/**", "x", true},
                             {"**/", "x/y/", true},
                             {"**/", "x", false},
                             {"**", "x/y", true},
                         }));

TEST(IgnoreRules, NamesTheLastRuleThatMatches) {
  const IgnoreRules rules = IgnoreRules::Parse("# c\n*.o\n\n!keep.o  \n");
  const IgnoreRules::Rule* rule = rules.Match("keep.o", false);
  ASSERT_NE(rule, nullptr);
  EXPECT_EQ(rule->text, "!keep.o");
  EXPECT_EQ(rule->line, 4);
}

TEST(IgnoreRules, HostileRulesTakeBoundedTime) {
  std::string stars;
  std::string path;
  for (int i = 0; i < 60; ++i) {
    stars += "*a";
    path += "a";
  }
  EXPECT_EQ(IgnoreRules::Parse(stars + "b").Match(path + path, false), nullptr);
  std::string globs = "/";
  std::string deep;
  for (int i = 0; i < 60; ++i) {
    globs += "**/a/";
    deep += "a/a/";
  }
  EXPECT_EQ(IgnoreRules::Parse(globs + "b").Match(deep + "c", false), nullptr);
}

}  // namespace
}  // namespace pith
