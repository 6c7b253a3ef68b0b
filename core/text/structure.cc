#include "core/text/structure.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"

#include "core/base/string_view.h"

namespace pith {
namespace {

constexpr size_t kMaxTitleBytes = 128;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view StripLeft(std::string_view text) {
  return StdView(absl::StripLeadingAsciiWhitespace(AbslView(text)));
}

std::string_view StripRight(std::string_view text) {
  return StdView(absl::StripTrailingAsciiWhitespace(AbslView(text)));
}

struct Line {
  size_t offset = 0;
  // Without its line ending and other white space at the end.
  std::string_view content;

  bool blank() const { return content.empty(); }
};

class LineReader {
 public:
  explicit LineReader(std::string_view text) : text_(text) {
    if (text.starts_with(kByteOrderMark)) {
      position_ = kByteOrderMark.size();
    }
  }

  std::optional<Line> Next() {
    if (position_ >= text_.size()) {
      return std::nullopt;
    }
    const size_t begin = position_;
    const size_t newline = text_.find('\n', begin);
    const size_t end = newline == text_.npos ? text_.size() : newline;
    position_ = newline == text_.npos ? end : newline + 1;
    return Line{.offset = begin,
                .content = StripRight(text_.substr(begin, end - begin))};
  }

 private:
  std::string_view text_;
  size_t position_ = 0;
};

// Columns of white space in front of `line`, a tab to the next multiple of 4.
int Indent(std::string_view line) {
  int columns = 0;
  for (const char c : line) {
    if (c == ' ') {
      ++columns;
    } else if (c == '\t') {
      columns += 4 - columns % 4;
    } else {
      break;
    }
  }
  return columns;
}

size_t RunLength(std::string_view text, char c) {
  return std::min(text.find_first_not_of(c), text.size());
}

// Bytes of UTF-8 that start a code point.
size_t CountCodePoints(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

// "- x", "* x", "+ x", "12. x", "3) x", "#. x", ":field: x".
bool IsListItem(std::string_view line, bool fields) {
  line = StripLeft(line);
  size_t marker = 0;
  if (line.starts_with("- ") || line.starts_with("* ") ||
      line.starts_with("+ ") || line.starts_with("#. ")) {
    return true;
  }
  if (fields && line.size() > 2 && line[0] == ':' &&
      absl::ascii_isalpha(static_cast<unsigned char>(line[1]))) {
    return line.substr(0, 80).find(':', 2) != line.npos;
  }
  while (marker < line.size() && marker < 9 &&
         absl::ascii_isdigit(static_cast<unsigned char>(line[marker]))) {
    ++marker;
  }
  return marker > 0 && marker + 1 < line.size() &&
         (line[marker] == '.' || line[marker] == ')') &&
         line[marker + 1] == ' ';
}

// `raw` in one line with single spaces, cut at kMaxTitleBytes.
std::string CleanTitle(std::string_view raw) {
  std::string title;
  bool space = false;
  for (const char c : raw) {
    if (absl::ascii_isspace(static_cast<unsigned char>(c))) {
      space = !title.empty();
      continue;
    }
    if (space) {
      title.push_back(' ');
      space = false;
    }
    title.push_back(c);
    if (title.size() > kMaxTitleBytes) {
      size_t end = kMaxTitleBytes;
      while (end > 0 && (title[end] & 0xC0) == 0x80) {
        --end;
      }
      title.resize(end);
      break;
    }
  }
  return title;
}

// Collects blocks and headings, and keeps headings with what follows them.
class StructureBuilder {
 public:
  void AddBlock(size_t offset, CutStrength strength, bool prose) {
    depth_before_block_ = open_heading_depth_;
    open_heading_depth_ = 0;
    if (depth_before_block_ > 0) {
      strength = std::min(strength, kCutGlued);
    }
    structure_.blocks.push_back(
        {.offset = structure_.blocks.empty() ? 0 : offset,
         .strength = strength,
         .prose = prose});
  }

  void AddHeading(size_t offset, int depth, std::string_view title) {
    AddBlock(offset, kCutGlued, false);
    MakeHeading(offset, depth, title);
  }

  // Turns the last block, which starts at `offset`, into a heading.
  void MakeHeading(size_t offset, int depth, std::string_view title) {
    depth = std::min(depth, kMaxHeadingDepth);
    TextBlock& block = structure_.blocks.back();
    // A heading directly below the one that encloses it stays with it.
    const bool glued = depth_before_block_ > 0 && depth_before_block_ < depth;
    block.strength = glued ? kCutGlued
                           : static_cast<CutStrength>(kCutAtDeepestHeading +
                                                      kMaxHeadingDepth - depth);
    block.prose = false;
    open_heading_depth_ = depth;
    structure_.headings.push_back(
        {.offset = offset, .depth = depth, .title = CleanTitle(title)});
  }

  TextStructure Finish() && { return std::move(structure_); }

 private:
  TextStructure structure_;
  // Depth of the heading that the last block is, 0 if it is none; and of the
  // one in front of the last block.
  int open_heading_depth_ = 0;
  int depth_before_block_ = 0;
};

// Paragraphs and list items, which plain text, Markdown and reStructuredText
// have in common.
class ProseParser {
 public:
  ProseParser(StructureBuilder& builder, bool fields)
      : builder_(builder), fields_(fields) {}

  void Add(const Line& line) {
    if (line.blank()) {
      Break();
      return;
    }
    const bool item = IsListItem(line.content, fields_);
    if (!item && lines_ > 0) {
      ++lines_;
      return;
    }
    const bool nested = Indent(line.content) >= 2;
    builder_.AddBlock(
        line.offset,
        nested ? kCutAtNested : (item ? kCutAtItem : kCutAtParagraph), true);
    paragraph_offset_ = line.offset;
    plain_ = !item && !nested;
    lines_ = 1;
  }

  // The next line starts a block.
  void Break() { lines_ = 0; }

  // Lines of the paragraph that the next line would continue.
  int lines() const { return lines_; }
  size_t paragraph_offset() const { return paragraph_offset_; }
  // That paragraph is neither indented nor a list item.
  bool plain() const { return plain_; }

 private:
  StructureBuilder& builder_;
  const bool fields_;
  int lines_ = 0;
  size_t paragraph_offset_ = 0;
  bool plain_ = false;
};

TextStructure ParsePlain(std::string_view text) {
  StructureBuilder builder;
  ProseParser prose(builder, false);
  LineReader reader(text);
  while (const std::optional<Line> line = reader.Next()) {
    prose.Add(*line);
  }
  return std::move(builder).Finish();
}

struct Fence {
  char character = 0;
  size_t length = 0;
};

std::optional<Fence> OpeningFence(std::string_view line) {
  line = StripLeft(line);
  if (line.empty() || (line[0] != '`' && line[0] != '~')) {
    return std::nullopt;
  }
  const size_t length = RunLength(line, line[0]);
  if (length < 3 || (line[0] == '`' &&
                     line.substr(length).find('`') != std::string_view::npos)) {
    return std::nullopt;
  }
  return Fence{.character = line[0], .length = length};
}

bool ClosesFence(std::string_view line, const Fence& fence) {
  line = StripLeft(line);
  return line.size() >= fence.length &&
         RunLength(line, fence.character) == line.size();
}

// 1 to 6, or 0 if `line` is no ATX heading; `title` is what it says.
int AtxDepth(std::string_view line, std::string_view* title) {
  if (Indent(line) > 3) {
    return 0;
  }
  line = StripLeft(line);
  const size_t depth = RunLength(line, '#');
  if (depth == 0 || depth > 6 ||
      (depth < line.size() && line[depth] != ' ' && line[depth] != '\t')) {
    return 0;
  }
  line = StripLeft(line.substr(depth));
  const size_t last = line.find_last_not_of('#');
  if (last == line.npos) {
    line = {};
  } else if (line[last] == ' ' || line[last] == '\t') {
    line = line.substr(0, last);
  }
  *title = line;
  return static_cast<int>(depth);
}

// 1 for a line of "=", 2 for a line of "-", else 0.
int SetextDepth(std::string_view line) {
  if (Indent(line) > 3) {
    return 0;
  }
  line = StripLeft(line);
  if (line.empty() || (line[0] != '=' && line[0] != '-') ||
      RunLength(line, line[0]) != line.size()) {
    return 0;
  }
  return line[0] == '=' ? 1 : 2;
}

// Whether a paragraph that starts with `line` can be a Setext heading.
bool MayBeSetextTitle(std::string_view line) {
  line = StripLeft(line);
  return !line.empty() && line[0] != '>' && line[0] != '|';
}

class MarkdownParser {
 public:
  explicit MarkdownParser(std::string_view text)
      : text_(text), reader_(text), prose_(builder_, false) {}

  TextStructure Parse() && {
    AddFrontMatter();
    while (const std::optional<Line> line = reader_.Next()) {
      if (fence_.has_value()) {
        AddFenced(*line);
      } else {
        Add(*line);
      }
      after_blank_ = line->blank();
    }
    return std::move(builder_).Finish();
  }

 private:
  // Lines from "---" at the start to the next one, without a blank line, which
  // tells them from text between two thematic breaks.
  void AddFrontMatter() {
    LineReader ahead = reader_;
    std::optional<Line> line = ahead.Next();
    if (!line.has_value() || line->content != "---") {
      return;
    }
    std::vector<size_t> offsets = {line->offset};
    while ((line = ahead.Next()).has_value() && !line->blank()) {
      offsets.push_back(line->offset);
      if (line->content == "---" || line->content == "...") {
        for (const size_t offset : offsets) {
          builder_.AddBlock(offset, kCutAtLine, false);
        }
        reader_ = ahead;
        return;
      }
    }
  }

  void AddFenced(const Line& line) {
    if (ClosesFence(line.content, *fence_)) {
      builder_.AddBlock(line.offset, kCutGlued, false);
      fence_.reset();
    } else if (!line.blank()) {
      builder_.AddBlock(
          line.offset,
          after_fence_ ? kCutGlued : (after_blank_ ? kCutAtNested : kCutAtLine),
          false);
      after_fence_ = false;
    }
  }

  void Add(const Line& line) {
    if ((fence_ = OpeningFence(line.content)).has_value()) {
      builder_.AddBlock(line.offset,
                        prose_.lines() > 0 || Indent(line.content) >= 2
                            ? kCutAtNested
                            : kCutAtParagraph,
                        false);
      prose_.Break();
      after_fence_ = true;
      return;
    }
    std::string_view title;
    if (const int depth = AtxDepth(line.content, &title); depth > 0) {
      builder_.AddHeading(line.offset, depth, title);
      prose_.Break();
      return;
    }
    if (const int depth = SetextDepth(line.content); depth > 0) {
      const size_t begin = prose_.paragraph_offset();
      // A longer paragraph in front of dashes is one that lacks the blank line
      // in front of a thematic break.
      if (prose_.lines() > 0 && prose_.lines() <= 3 && prose_.plain() &&
          MayBeSetextTitle(text_.substr(begin, line.offset - begin))) {
        builder_.MakeHeading(begin, depth,
                             text_.substr(begin, line.offset - begin));
        prose_.Break();
        return;
      }
    }
    prose_.Add(line);
  }

  std::string_view text_;
  LineReader reader_;
  StructureBuilder builder_;
  ProseParser prose_;
  std::optional<Fence> fence_;
  // The last line opened a fence.
  bool after_fence_ = false;
  bool after_blank_ = false;
};

class RstParser {
 public:
  explicit RstParser(std::string_view text)
      : reader_(text), prose_(builder_, true) {}

  TextStructure Parse() && {
    while (const std::optional<Line> line = reader_.Next()) {
      // Literal blocks and the bodies of directives are indented, titles start
      // a block in the first column, so neither is taken for the other.
      if (line->blank() || prose_.lines() > 0 || !AddTitle(*line)) {
        prose_.Add(*line);
      }
    }
    return std::move(builder_).Finish();
  }

 private:
  static bool IsAdornment(std::string_view line) {
    return !line.empty() &&
           absl::ascii_ispunct(static_cast<unsigned char>(line[0])) &&
           RunLength(line, line[0]) == line.size();
  }

  // The rule of docutils: shorter than the title is a title still from four
  // characters on.
  static bool Underlines(std::string_view adornment, std::string_view title) {
    return IsAdornment(adornment) &&
           (adornment.size() >= 4 ||
            adornment.size() >= CountCodePoints(title));
  }

  bool AddTitle(const Line& first) {
    LineReader ahead = reader_;
    const std::optional<Line> second = ahead.Next();
    if (!second.has_value() || second->blank()) {
      return false;
    }
    std::string_view title = first.content;
    const bool overlined = IsAdornment(first.content);
    if (overlined) {
      const std::optional<Line> third = ahead.Next();
      if (!third.has_value() || third->content != first.content ||
          IsAdornment(second->content) ||
          !Underlines(third->content, second->content)) {
        return false;
      }
      title = second->content;
    } else if (Indent(first.content) > 0 ||
               !Underlines(second->content, first.content)) {
      return false;
    }
    reader_ = ahead;
    const std::pair<char, bool> style(
        overlined ? first.content[0] : second->content[0], overlined);
    auto found = std::find(styles_.begin(), styles_.end(), style);
    if (found == styles_.end()) {
      found = styles_.insert(styles_.end(), style);
    }
    builder_.AddHeading(first.offset,
                        static_cast<int>(found - styles_.begin()) + 1, title);
    return true;
  }

  LineReader reader_;
  StructureBuilder builder_;
  ProseParser prose_;
  // Adornment and whether there is one above the title, outermost first. There
  // are no more than twice as many as punctuation characters.
  std::vector<std::pair<char, bool>> styles_;
};

bool Contains(std::string_view set, char c) {
  return set.find(c) != std::string_view::npos;
}

TextStructure ParseCode(std::string_view text) {
  StructureBuilder builder;
  LineReader reader(text);
  bool after_blank = true;
  // Ends the last line that is not blank.
  char last = 0;
  while (const std::optional<Line> line = reader.Next()) {
    if (line->blank()) {
      after_blank = true;
      continue;
    }
    const int indent = Indent(line->content);
    const char first = StripLeft(line->content)[0];
    CutStrength strength = kCutAtLine;
    if (after_blank) {
      strength = static_cast<CutStrength>(
          kCutAtDefinition -
          std::min(indent / 2, kCutAtDefinition - kCutAtParagraph));
    } else if (Contains("})]", first) || Contains("{([:=", last) ||
               (first == '{' && last != ',')) {
      // Ends, continues or opens what the line above it began.
      strength = kCutGlued;
    } else if (indent <= 4) {
      strength = indent == 0 ? kCutAtNested : kCutAtSentence;
    }
    builder.AddBlock(line->offset, strength, false);
    after_blank = false;
    last = line->content.back();
  }
  return std::move(builder).Finish();
}

}  // namespace

TextStructure ParseStructure(std::string_view text, TextFormat format) {
  switch (format) {
    case TextFormat::kPlain:
      return ParsePlain(text);
    case TextFormat::kMarkdown:
      return MarkdownParser(text).Parse();
    case TextFormat::kRestructuredText:
      return RstParser(text).Parse();
    case TextFormat::kCode:
      return ParseCode(text);
  }
  return ParsePlain(text);
}

}  // namespace pith
