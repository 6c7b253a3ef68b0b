# Writes COMMIT_H with the commit of SOURCE_DIR; leaves it alone if it says that
# already.
execute_process(
  COMMAND git -C ${SOURCE_DIR} describe --always --dirty --abbrev=12 --exclude=*
  OUTPUT_VARIABLE COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE RESULT ERROR_QUIET)
if(NOT RESULT EQUAL 0)
  set(COMMIT unknown)
endif()
file(CONFIGURE OUTPUT ${COMMIT_H} @ONLY CONTENT [[
namespace pith {
inline constexpr char kCommit[] = "@COMMIT@";
}  // namespace pith
]])
