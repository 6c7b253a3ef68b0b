#include "core/text/chunker.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "glog/logging.h"
#include "unicode/brkiter.h"
#include "unicode/locid.h"
#include "unicode/uchar.h"
#include "unicode/utext.h"

#include "core/base/string_view.h"
#include "core/text/structure.h"
#include "core/text/utf8.h"

// The text is split into units (lines, sentences, headings; pieces of them
// where one is too large for a chunk). A range larger than the largest chunk is
// cut in front of the unit that is best in it by strength, then by a hash of
// the bytes around the cut, among those that leave the smallest chunk on either
// side; the two parts are cut in the same way.
//
// Whether a cut is made depends on the better boundaries around it until they
// enclose more than a chunk, and through the smallest size on the cuts next to
// it, which are better than it, and so on: a chain of ever better cuts, short
// because the hashes are random. That is why an edit moves only the cuts near
// it, where cutting from left to right would carry it along.

namespace pith {
namespace {

// A chunk is no larger than this for each token that it may hold: a word
// without end is one unknown token to some models.
constexpr size_t kMaxBytesPerToken = 32;

// Text on either side of a cut that its hash covers.
constexpr size_t kHashedBytes = 32;

// Beyond what the sentence iterator can address, text has no sentences.
constexpr size_t kMaxProseBytes = size_t{1} << 30;

constexpr uint32_t kNone = UINT32_MAX;

bool IsSpace(char c) {
  return absl::ascii_isspace(static_cast<unsigned char>(c));
}

bool IsBlank(std::string_view text) {
  return std::all_of(text.begin(), text.end(), IsSpace);
}

bool IsContinuationByte(char c) {
  return (c & 0xC0) == 0x80;
}

// Stable over processes and machines, as chunks must be. FNV-1a with the
// finaliser of MurmurHash3.
uint32_t HashAround(std::string_view text, size_t offset) {
  const size_t begin = offset - std::min(offset, kHashedBytes);
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text.substr(begin, offset - begin + kHashedBytes)) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  }
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  return static_cast<uint32_t>(hash >> 32);
}

struct Unit {
  uint64_t offset = 0;
  // Of all units in front of it.
  uint64_t cost_before = 0;
  uint32_t hash = 0;
  // Children in the tree of boundaries, see SegmentCutter.
  uint32_t left = kNone;
  uint32_t right = kNone;
  CutStrength strength = 0;
  bool cut = false;
};

// Splits text into units and counts them.
class UnitSplitter {
 public:
  UnitSplitter(std::string_view text, const TokenCounter& counter,
               uint64_t max_cost)
      : text_(text), counter_(counter), max_cost_(max_cost) {}

  void Add(size_t begin, size_t end, CutStrength strength, bool prose) {
    if (prose && end - begin <= kMaxProseBytes) {
      AddSentences(begin, end, strength);
    } else {
      AddUnit(begin, end, strength);
    }
  }

  // The units, and behind them one that ends the text.
  std::vector<Unit> Finish() && {
    units_.push_back({.offset = text_.size(), .cost_before = cost_});
    return std::move(units_);
  }

 private:
  // At least 1 for text with a token, so that no chunk holds none.
  uint64_t Cost(size_t begin, size_t end) const {
    const std::string_view piece = StdView(absl::StripTrailingAsciiWhitespace(
        AbslView(text_.substr(begin, end - begin))));
    const int tokens = counter_.CountTokens(piece);
    return tokens <= 0 ? 0
                       : std::max(static_cast<uint64_t>(tokens),
                                  uint64_t{piece.size() / kMaxBytesPerToken});
  }

  void Push(size_t offset, CutStrength strength, uint64_t cost) {
    units_.push_back({.offset = offset,
                      .cost_before = cost_,
                      .hash = HashAround(text_, offset),
                      .strength = strength});
    cost_ += cost;
  }

  void AddSentences(size_t begin, size_t end, CutStrength strength) {
    UErrorCode status = U_ZERO_ERROR;
    if (sentences_ == nullptr) {
      sentences_.reset(icu::BreakIterator::createSentenceInstance(
          icu::Locale::getRoot(), status));
      CHECK(U_SUCCESS(status))
          << "ICU has no sentence rules: " << u_errorName(status);
    }
    UText utext = UTEXT_INITIALIZER;
    utext_openUTF8(&utext, text_.data() + begin,
                   static_cast<int64_t>(end - begin), &status);
    sentences_->setText(&utext, status);
    CHECK(U_SUCCESS(status)) << u_errorName(status);
    size_t unit = begin;
    for (int32_t next = sentences_->next(); next != icu::BreakIterator::DONE;
         next = sentences_->next()) {
      const size_t unit_end = begin + static_cast<size_t>(next);
      // Each line end is a break to ICU; the status tells those that no full
      // stop stands in front of.
      const bool sentence = sentences_->getRuleStatus() < UBRK_SENTENCE_SEP;
      // A blank line is the end of the unit in front of it.
      if (unit == begin || !IsBlank(text_.substr(unit, unit_end - unit))) {
        AddUnit(unit, unit_end, strength);
        strength = sentence ? kCutAtSentence : kCutAtLine;
      }
      unit = unit_end;
    }
    utext_close(&utext);
  }

  void AddUnit(size_t begin, size_t end, CutStrength strength) {
    const uint64_t cost = Cost(begin, end);
    if (cost <= max_cost_) {
      Push(begin, strength, cost);
    } else {
      AddPieces(begin, end, strength,
                std::clamp<size_t>(max_cost_ / 2, 1, 128));
    }
  }

  // Pieces of about `max_bytes`, counted each, smaller ones of those that are
  // still too large.
  void AddPieces(size_t begin, size_t end, CutStrength strength,
                 size_t max_bytes) {
    while (begin < end) {
      CutStrength next_strength = kCutInWord;
      const size_t piece_end = PieceEnd(begin, end, max_bytes, &next_strength);
      const uint64_t cost = Cost(begin, piece_end);
      if (cost > max_cost_ && max_bytes > 1) {
        AddPieces(begin, piece_end, strength,
                  std::max<size_t>(max_bytes / 4, 1));
      } else {
        Push(begin, strength, cost);
      }
      begin = piece_end;
      strength = next_strength;
    }
  }

  // Where a piece that starts at `begin` ends: at white space rather than after
  // punctuation rather than at any character, by hash among equals.
  size_t PieceEnd(size_t begin, size_t end, size_t max_bytes,
                  CutStrength* next_strength) const {
    if (end - begin <= max_bytes) {
      return end;
    }
    enum Class { kInRun, kCharacter, kPunctuation, kSpace };
    Class best_class = kInRun;
    uint32_t best_hash = 0;
    size_t best = begin + max_bytes;
    for (size_t i = begin + max_bytes / 2 + 1; i <= begin + max_bytes; ++i) {
      if (!MayCut(i, end)) {
        continue;
      }
      const auto before = static_cast<unsigned char>(text_[i - 1]);
      const Class here = IsSpace(text_[i - 1])         ? kSpace
                         : absl::ascii_ispunct(before) ? kPunctuation
                                                       : kCharacter;
      if (here < best_class) {
        continue;
      }
      const uint32_t hash = HashAround(text_, i);
      if (here > best_class || hash > best_hash) {
        best_class = here;
        best_hash = hash;
        best = i;
      }
    }
    if (best_class == kInRun) {
      while (best < end && !MayCut(best, end) &&
             (IsSpace(text_[best]) || best < begin + max_bytes + 64)) {
        ++best;
      }
      while (best < end && IsContinuationByte(text_[best])) {
        ++best;
      }
    }
    *next_strength = IsSpace(text_[best - 1]) ? kCutAtWord : kCutInWord;
    return best;
  }

  // Not inside a character with its marks, and not in front of white space.
  bool MayCut(size_t offset, size_t end) const {
    if (offset >= end) {
      return false;
    }
    const char c = text_[offset];
    if (static_cast<unsigned char>(c) < 0x80) {
      return !IsSpace(c);
    }
    if (IsContinuationByte(c)) {
      return false;
    }
    size_t next = offset;
    const int32_t code_point = NextCodePoint(text_.substr(0, end), &next);
    return code_point < 0 ||
           !u_hasBinaryProperty(code_point, UCHAR_GRAPHEME_EXTEND);
  }

  std::string_view text_;
  const TokenCounter& counter_;
  const uint64_t max_cost_;
  std::unique_ptr<icu::BreakIterator> sentences_;
  std::vector<Unit> units_;
  uint64_t cost_ = 0;
};

// Chooses the units that chunks start with.
class SegmentCutter {
 public:
  // `units` ends with one that stands for the end of the text.
  SegmentCutter(std::vector<Unit>& units, uint64_t min_cost, uint64_t max_cost)
      : units_(units), min_cost_(min_cost), max_cost_(max_cost) {}

  void Cut() {
    std::vector<Segment> pending = {
        {.begin = 0,
         .end = static_cast<uint32_t>(units_.size() - 1),
         .tree = BuildTree()}};
    while (!pending.empty()) {
      const Segment segment = pending.back();
      pending.pop_back();
      if (CostOf(segment.begin, segment.end) <= max_cost_) {
        continue;
      }
      if (segment.tree == kNone) {
        if (const uint32_t middle = Middle(segment.begin, segment.end);
            middle != segment.begin) {
          units_[middle].cut = true;
          pending.push_back({segment.begin, middle, kNone});
          pending.push_back({middle, segment.end, kNone});
        }
        continue;
      }
      uint32_t at = segment.tree;
      if (CostOf(segment.begin, at) < min_cost_) {
        pending.push_back({segment.begin, segment.end, units_[at].right});
      } else if (CostOf(at, segment.end) < min_cost_) {
        pending.push_back({segment.begin, segment.end, units_[at].left});
      } else {
        const uint32_t left = units_[at].left;
        // Of equals, which repetitive text has, the last that fills a chunk.
        for (uint32_t next = units_[at].right;
             next != kNone && !Better(units_[at], units_[next]) &&
             CostOf(segment.begin, next) <= max_cost_ &&
             CostOf(next, segment.end) >= min_cost_;
             next = units_[next].right) {
          at = next;
        }
        units_[at].cut = true;
        pending.push_back({segment.begin, at, left});
        pending.push_back({at, segment.end, units_[at].right});
      }
    }
  }

  // The unit inside units [begin, end) that a cut in front of divides them most
  // evenly; `begin` if there is none.
  uint32_t Middle(uint32_t begin, uint32_t end) const {
    if (end - begin < 2) {
      return begin;
    }
    const uint64_t half =
        (units_[begin].cost_before + units_[end].cost_before) / 2;
    const auto first = units_.begin() + begin + 1;
    auto found = std::lower_bound(first, units_.begin() + end, half,
                                  [](const Unit& unit, uint64_t cost) {
                                    return unit.cost_before < cost;
                                  });
    if (found == units_.begin() + end ||
        (found != first &&
         half - (found - 1)->cost_before < found->cost_before - half)) {
      --found;
    }
    return static_cast<uint32_t>(found - units_.begin());
  }

 private:
  // Units [begin, end); `tree` holds the boundaries that may divide them.
  struct Segment {
    uint32_t begin = 0;
    uint32_t end = 0;
    uint32_t tree = kNone;
  };

  static bool Better(const Unit& a, const Unit& b) {
    return a.strength != b.strength ? a.strength > b.strength : a.hash > b.hash;
  }

  uint64_t CostOf(uint32_t begin, uint32_t end) const {
    return units_[end].cost_before - units_[begin].cost_before;
  }

  // The Cartesian tree of the boundaries between units: its root is the best of
  // all, the first of equals, and so is each child of its range.
  uint32_t BuildTree() {
    std::vector<uint32_t> rightmost;
    for (uint32_t i = 1; i + 1 < units_.size(); ++i) {
      while (!rightmost.empty() &&
             Better(units_[i], units_[rightmost.back()])) {
        units_[i].left = rightmost.back();
        rightmost.pop_back();
      }
      if (!rightmost.empty()) {
        units_[rightmost.back()].right = i;
      }
      rightmost.push_back(i);
    }
    return rightmost.empty() ? kNone : rightmost.front();
  }

  std::vector<Unit>& units_;
  const uint64_t min_cost_;
  const uint64_t max_cost_;
};

// Writes the headings above consecutive chunks.
class HeadingTracker {
 public:
  explicit HeadingTracker(const std::vector<Heading>& headings)
      : next_(headings.begin()), end_(headings.end()) {}

  // For text at `offset`, which is not before the last call's.
  std::string PathAt(uint64_t offset) {
    for (; next_ != end_ && next_->offset <= offset; ++next_) {
      while (!open_.empty() && open_.back()->depth >= next_->depth) {
        open_.pop_back();
      }
      open_.push_back(&*next_);
    }
    std::string path;
    for (const Heading* heading : open_) {
      if (!path.empty() && !heading->title.empty()) {
        path += " > ";
      }
      path += heading->title;
    }
    return path;
  }

 private:
  std::vector<Heading>::const_iterator next_;
  const std::vector<Heading>::const_iterator end_;
  std::vector<const Heading*> open_;
};

// Where the first line of the text from `offset` on starts.
uint64_t FirstCharacter(std::string_view text, uint64_t offset) {
  if (offset == 0 && text.starts_with("\xEF\xBB\xBF")) {
    offset = 3;
  }
  while (offset < text.size() && IsSpace(text[offset])) {
    ++offset;
  }
  return offset;
}

// Cuts chunks that hold more than the model's maximum all the same. Counts of
// pieces add up where white space divides them (see TokenCounter), so only
// chunks with other boundaries inside are counted again.
void CutTooLarge(std::string_view text, const TokenCounter& counter,
                 const SegmentCutter& cutter, std::vector<Unit>& units) {
  std::vector<std::pair<uint32_t, uint32_t>> pending;
  for (uint32_t begin = 0; begin + 1 < units.size();) {
    uint32_t end = begin + 1;
    while (end + 1 < units.size() && !units[end].cut) {
      ++end;
    }
    pending.emplace_back(begin, end);
    while (!pending.empty()) {
      const auto [first, last] = pending.back();
      pending.pop_back();
      const bool divided_by_space = std::all_of(
          units.begin() + first + 1, units.begin() + last,
          [&](const Unit& unit) { return IsSpace(text[unit.offset - 1]); });
      if (divided_by_space ||
          counter.CountTokens(text.substr(
              units[first].offset, units[last].offset - units[first].offset)) <=
              counter.max_tokens()) {
        continue;
      }
      const uint32_t middle = cutter.Middle(first, last);
      units[middle].cut = true;
      pending.emplace_back(first, middle);
      pending.emplace_back(middle, last);
    }
    begin = end;
  }
}

}  // namespace

TextFormat FormatFromPath(std::string_view path) {
  const std::string name =
      absl::AsciiStrToLower(AbslView(path.substr(path.find_last_of('/') + 1)));
  const size_t dot = name.find_last_of('.');
  const std::string_view extension =
      dot == name.npos ? std::string_view()
                       : std::string_view(name).substr(dot + 1);
  constexpr auto kMarkdown = std::to_array<std::string_view>(
      {"md", "markdown", "mdown", "mkd", "mdx", "qmd", "rmd"});
  constexpr auto kRst = std::to_array<std::string_view>({"rst", "rest"});
  constexpr auto kCode = std::to_array<std::string_view>(
      {"ada",  "adb",  "ads",    "asm",    "awk",    "bash",  "bat",    "bzl",
       "c",    "cc",   "cjs",    "clj",    "cljs",   "cmake", "cpp",    "cs",
       "css",  "cu",   "cuh",    "cxx",    "d",      "dart",  "diff",   "el",
       "elm",  "erl",  "ex",     "exs",    "f",      "f90",   "fish",   "fs",
       "fsx",  "glsl", "go",     "gradle", "groovy", "h",     "hcl",    "hh",
       "hlsl", "hpp",  "hrl",    "hs",     "hxx",    "inc",   "ini",    "ipp",
       "java", "jl",   "js",     "json",   "jsonc",  "jsonl", "jsx",    "kt",
       "kts",  "less", "lisp",   "lua",    "m",      "metal", "mjs",    "mk",
       "ml",   "mli",  "mm",     "nim",    "nix",    "pas",   "patch",  "php",
       "pl",   "pm",   "pro",    "proto",  "ps1",    "pxd",   "py",     "pyi",
       "pyx",  "r",    "rb",     "rkt",    "rs",     "s",     "sass",   "scala",
       "scm",  "scss", "sh",     "sol",    "sql",    "sv",    "svelte", "swift",
       "tcl",  "tf",   "thrift", "toml",   "ts",     "tsx",   "v",      "vb",
       "vhd",  "vhdl", "vim",    "vue",    "xml",    "yaml",  "yml",    "zig",
       "zsh"});
  constexpr auto kCodeNames = std::to_array<std::string_view>(
      {"makefile", "gnumakefile", "dockerfile", "containerfile",
       "cmakelists.txt", "jenkinsfile", "vagrantfile", "rakefile", "gemfile",
       "justfile", "build", "build.bazel", "workspace", "meson.build",
       "sconstruct", "go.mod"});
  const auto has = [](const auto& list, std::string_view value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  if (has(kCodeNames, name)) {
    return TextFormat::kCode;
  }
  // A README without an extension is Markdown more often than not, and plain
  // text reads the same.
  if (has(kMarkdown, extension) || name == "readme") {
    return TextFormat::kMarkdown;
  }
  if (has(kRst, extension)) {
    return TextFormat::kRestructuredText;
  }
  return has(kCode, extension) ? TextFormat::kCode : TextFormat::kPlain;
}

ChunkedText ChunkText(std::string_view text, TextFormat format,
                      const ChunkOptions& options,
                      const TokenCounter& counter) {
  const TextStructure structure = ParseStructure(text, format);
  // A range of sizes in which the better boundaries can be chosen. The largest
  // is at least twice the smallest, or some ranges could not be cut.
  const auto max_cost = static_cast<uint64_t>(
      std::clamp<int64_t>(int64_t{options.target_tokens} * 7 / 5, 1,
                          std::max(counter.max_tokens(), 1)));
  const uint64_t min_cost = std::max<uint64_t>(max_cost * 2 / 5, 1);

  UnitSplitter splitter(text, counter, max_cost);
  for (size_t i = 0; i < structure.blocks.size(); ++i) {
    const TextBlock& block = structure.blocks[i];
    const size_t end = i + 1 < structure.blocks.size()
                           ? structure.blocks[i + 1].offset
                           : text.size();
    splitter.Add(block.offset, end, block.strength, block.prose);
  }
  std::vector<Unit> units = std::move(splitter).Finish();

  ChunkedText result;
  if (units.back().cost_before == 0) {
    return result;
  }
  SegmentCutter cutter(units, min_cost, max_cost);
  cutter.Cut();
  CutTooLarge(text, counter, cutter, units);

  const auto titled = std::find_if(
      structure.headings.begin(), structure.headings.end(),
      [](const Heading& heading) { return !heading.title.empty(); });
  if (titled != structure.headings.end()) {
    result.title = titled->title;
  }
  HeadingTracker headings(structure.headings);
  for (size_t begin = 0; begin + 1 < units.size();) {
    size_t end = begin + 1;
    while (end + 1 < units.size() && !units[end].cut) {
      ++end;
    }
    const uint64_t offset = units[begin].offset;
    result.chunks.push_back(
        {.offset = offset,
         .bytes = units[end].offset - offset,
         .heading_path = headings.PathAt(FirstCharacter(text, offset))});
    begin = end;
  }
  return result;
}

}  // namespace pith
