#include "server/documents_service.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

#include "core/base/mutex.h"
#include "core/base/reason.h"
#include "core/base/status_macros.h"
#include "server/convert.h"
#include "server/unary_call.h"

namespace pith {
namespace {

// Documents of one stream that are read and not yet answered.
constexpr size_t kMaxOutstanding = 64;
constexpr size_t kMaxOutstandingBytes = size_t{16} << 20;

constexpr int kMaxDeleteIds = 1000;
constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;

// One Ingest stream. Reads ahead of the acknowledgements by a bounded amount,
// and answers in order. Finishes only when nothing is outstanding, so that the
// collection's callbacks always find it alive.
class IngestCall
    : public grpc::ServerBidiReactor<v1::IngestRequest, v1::IngestResponse> {
 public:
  explicit IngestCall(CollectionRegistry& collections)
      : collections_(collections) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    absl::Status failure;
    if (ok && handle_ == nullptr) {
      failure = Begin();
    } else if (ok) {
      failure = Accept();
    }
    Advance([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      reading_ = false;
      if (!ok || !failure.ok()) {
        input_ended_ = true;
        final_status_ = failure;
      }
    });
  }

  void OnWriteDone(bool ok) override {
    Advance([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      writing_ = false;
      if (ok) {
        answers_.pop_front();
        ++first_answer_;
      } else {
        // The client has gone: what is outstanding is stored, but not answered.
        broken_ = true;
        input_ended_ = true;
      }
    });
  }

  void OnCancel() override {
    Advance([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      broken_ = true;
      input_ended_ = true;
    });
  }

  void OnDone() override { delete this; }

 private:
  absl::Status Begin() {
    if (!request_.has_start()) {
      return WithReason(absl::InvalidArgumentError(
                            "the first request of Ingest is not start"),
                        "NO_START");
    }
    PITH_ASSIGN_OR_RETURN(handle_,
                          collections_.Find(request_.start().collection()));
    return absl::OkStatus();
  }

  absl::Status Accept() {
    if (!request_.has_document()) {
      return WithReason(absl::InvalidArgumentError(
                            "a later request of Ingest is no document"),
                        "NO_DOCUMENT");
    }
    const std::string id = request_.document().id();
    const size_t bytes = request_.ByteSizeLong();
    uint64_t sequence = 0;
    {
      MutexLock lock(mutex_);
      sequence = first_answer_ + answers_.size();
      answers_.emplace_back();
      ++outstanding_;
      outstanding_bytes_ += bytes;
    }
    const auto answer = [this, id, bytes,
                         sequence](const absl::StatusOr<PutResult>& result) {
      Advance([&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
        answers_[sequence - first_answer_] = ToProto(id, result);
        --outstanding_;
        outstanding_bytes_ -= bytes;
      });
    };
    absl::StatusOr<DocumentInput> input =
        DocumentFromProto(std::move(*request_.mutable_document()));
    if (input.ok()) {
      handle_->collection().Put(*std::move(input), answer);
    } else {
      answer(input.status());
    }
    return absl::OkStatus();
  }

  // Changes the state by `edit`, then starts whatever can go on: a write, a
  // read, the end. The last is decided under the lock and done after it, since
  // the call may be gone as soon as Finish is called.
  template <typename Edit>
  void Advance(Edit edit) ABSL_LOCKS_EXCLUDED(mutex_) {
    const v1::IngestResponse* write = nullptr;
    bool read = false;
    bool finish = false;
    grpc::Status status;
    // The collection is let go as soon as no document can follow. That becomes
    // so in gRPC's own callbacks alone, never in the collection's: the last who
    // lets go closes it, and its own threads cannot.
    std::shared_ptr<CollectionRegistry::Handle> released;
    {
      MutexLock lock(mutex_);
      edit();
      if (input_ended_ && !reading_) {
        released = std::move(handle_);
      }
      if (!writing_ && !broken_ && !answers_.empty() && answers_.front()) {
        writing_ = true;
        write = &*answers_.front();
      }
      if (!reading_ && !input_ended_ && answers_.size() < kMaxOutstanding &&
          outstanding_bytes_ < kMaxOutstandingBytes) {
        reading_ = true;
        read = true;
      }
      if (input_ended_ && !reading_ && !writing_ && outstanding_ == 0 &&
          (broken_ || answers_.empty()) && !finished_) {
        finished_ = true;
        finish = true;
        status =
            ToGrpcStatus(broken_ ? absl::CancelledError("the client has gone")
                                 : final_status_);
      }
    }
    if (write != nullptr) {
      StartWrite(write);
    }
    if (read) {
      request_.Clear();
      StartRead(&request_);
    }
    if (finish) {
      Finish(status);
    }
  }

  CollectionRegistry& collections_;

  // Used by the reading side alone, one read at a time.
  v1::IngestRequest request_;
  std::shared_ptr<CollectionRegistry::Handle> handle_;

  Mutex mutex_;
  // Of the documents read, from number first_answer_ on; those not yet known
  // are empty. A deque, so that the one being written stays where it is.
  std::deque<std::optional<v1::IngestResponse>> answers_
      ABSL_GUARDED_BY(mutex_);
  uint64_t first_answer_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t outstanding_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t outstanding_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool reading_ ABSL_GUARDED_BY(mutex_) = true;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool input_ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status final_status_ ABSL_GUARDED_BY(mutex_);
};

// Waits without a thread: the collection calls back, or the client gives up.
class WaitCall : public grpc::ServerUnaryReactor {
 public:
  // What the collection's callback holds; it may outlive the call.
  struct Shared {
    Mutex mutex;
    WaitCall* call ABSL_GUARDED_BY(mutex) = nullptr;
    // Set once it waits. Weak, since the collection's own threads call back,
    // and must not be those that close it.
    std::weak_ptr<CollectionRegistry::Handle> collection ABSL_GUARDED_BY(mutex);
    uint64_t waiter ABSL_GUARDED_BY(mutex) = 0;
  };

  static WaitCall* Start(CollectionRegistry& collections,
                         const v1::WaitUntilSearchableRequest& request,
                         v1::WaitUntilSearchableResponse* response) {
    auto* call = new WaitCall;
    // The call may be gone as soon as the collection has the callback.
    const std::shared_ptr<Shared> shared = call->shared_;
    absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>> handle =
        collections.Find(request.collection());
    if (!handle.ok()) {
      call->shared_->call = nullptr;
      call->Finish(ToGrpcStatus(handle.status()));
      return call;
    }
    const uint64_t waiter = (*handle)->collection().WhenSearchable(
        [shared, response](absl::StatusOr<uint64_t> failed) {
          MutexLock lock(shared->mutex);
          if (WaitCall* waiting = std::exchange(shared->call, nullptr)) {
            if (failed.ok()) {
              response->set_failed_passages(static_cast<int64_t>(*failed));
            }
            waiting->Finish(ToGrpcStatus(failed.status()));
          }
        });
    {
      MutexLock lock(shared->mutex);
      if (shared->call != nullptr) {
        shared->collection = *handle;
        shared->waiter = waiter;
        return call;
      }
    }
    // Answered or cancelled already.
    (*handle)->collection().ForgetWaiter(waiter);
    return call;
  }

  void OnCancel() override {
    std::shared_ptr<CollectionRegistry::Handle> collection;
    uint64_t waiter = 0;
    {
      MutexLock lock(shared_->mutex);
      if (std::exchange(shared_->call, nullptr) == nullptr) {
        return;
      }
      collection = shared_->collection.lock();
      waiter = shared_->waiter;
    }
    if (collection != nullptr) {
      collection->collection().ForgetWaiter(waiter);
    }
    Finish(ToGrpcStatus(absl::CancelledError("the client has gone")));
  }

  void OnDone() override { delete this; }

 private:
  WaitCall() : shared_(std::make_shared<Shared>()) { shared_->call = this; }

  const std::shared_ptr<Shared> shared_;
};

absl::Status GetDocument(CollectionRegistry& collections,
                         const v1::GetDocumentRequest& request,
                         v1::GetDocumentResponse& response) {
  PITH_ASSIGN_OR_RETURN(const auto handle,
                        collections.FindOrReopen(request.collection()));
  PITH_ASSIGN_OR_RETURN(const std::optional<StoredDocument> document,
                        handle->collection().Get(request.id()));
  if (!document) {
    return WithReason(
        absl::NotFoundError(absl::StrCat("document \"", request.id(),
                                         "\" is not in collection \"",
                                         request.collection(), "\"")),
        "DOCUMENT_NOT_FOUND");
  }
  *response.mutable_document() = ToProto(*document);
  response.set_passages(static_cast<int64_t>(document->record.passages.size()));
  return absl::OkStatus();
}

absl::Status ListDocuments(CollectionRegistry& collections,
                           const v1::ListDocumentsRequest& request,
                           v1::ListDocumentsResponse& response) {
  PITH_ASSIGN_OR_RETURN(const auto handle,
                        collections.FindOrReopen(request.collection()));
  const int page_size =
      request.has_page_size() ? request.page_size() : kDefaultPageSize;
  if (page_size < 1 || page_size > kMaxPageSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        "page_size of ", page_size, " is not between 1 and ", kMaxPageSize));
  }
  std::optional<std::string_view> after;
  if (!request.page_token().empty()) {
    after = request.page_token();
  }
  // One more than asked for says whether another page follows.
  PITH_ASSIGN_OR_RETURN(
      std::vector<DocumentListing> documents,
      handle->collection().List(request.prefix(), after,
                                static_cast<size_t>(page_size) + 1));
  if (documents.size() > static_cast<size_t>(page_size)) {
    documents.pop_back();
    response.set_next_page_token(documents.back().id);
  }
  for (DocumentListing& document : documents) {
    auto* entry = response.add_documents();
    entry->set_id(std::move(document.id));
    entry->set_title(std::move(document.title));
    entry->set_passages(static_cast<int64_t>(document.passages));
    entry->set_text_bytes(static_cast<int64_t>(document.text_bytes));
  }
  return absl::OkStatus();
}

absl::Status DeletePrefix(CollectionRegistry& collections,
                          const v1::DeleteDocumentsRequest& request,
                          const RequestContext& context,
                          v1::DeleteDocumentsResponse& response) {
  if (request.ids_size() > 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        request.ids_size(), " ids and a prefix, only either is possible"));
  }
  if (request.prefix().empty()) {
    return absl::InvalidArgumentError(
        "the prefix is empty, which every id starts with");
  }
  PITH_ASSIGN_OR_RETURN(const auto handle,
                        collections.FindOrReopen(request.collection()));
  std::optional<std::string> last;
  while (true) {
    PITH_RETURN_IF_ERROR(CheckAlive(context));
    PITH_ASSIGN_OR_RETURN(
        std::vector<DocumentListing> documents,
        handle->collection().List(request.prefix(), last, kMaxDeleteIds));
    if (documents.empty()) {
      return absl::OkStatus();
    }
    std::vector<std::string> ids;
    for (DocumentListing& document : documents) {
      ids.push_back(std::move(document.id));
    }
    last = ids.back();
    PITH_ASSIGN_OR_RETURN(const DeleteResult result,
                          handle->collection().DeleteAndWait(std::move(ids)));
    response.set_deleted(response.deleted() +
                         static_cast<int64_t>(result.deleted));
  }
}

// Finishes when the collection answers, which it always does.
class DeleteCall : public grpc::ServerUnaryReactor {
 public:
  static DeleteCall* Start(CollectionRegistry& collections,
                           const v1::DeleteDocumentsRequest& request,
                           v1::DeleteDocumentsResponse* response) {
    auto* call = new DeleteCall;
    absl::StatusOr<std::shared_ptr<CollectionRegistry::Handle>> handle =
        collections.Find(request.collection());
    if (!handle.ok()) {
      call->Finish(ToGrpcStatus(handle.status()));
    } else if (request.ids_size() < 1 || request.ids_size() > kMaxDeleteIds) {
      call->Finish(ToGrpcStatus(absl::InvalidArgumentError(absl::StrCat(
          request.ids_size(), " ids are not between 1 and ", kMaxDeleteIds))));
    } else {
      (*handle)->collection().Delete(
          {request.ids().begin(), request.ids().end()},
          [call, response](absl::StatusOr<DeleteResult> result) {
            if (result.ok()) {
              response->set_deleted(static_cast<int64_t>(result->deleted));
              response->set_not_found(static_cast<int64_t>(result->not_found));
            }
            call->Finish(ToGrpcStatus(result.status()));
          });
    }
    return call;
  }

  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerBidiReactor<v1::IngestRequest, v1::IngestResponse>*
DocumentsServiceImpl::Ingest(grpc::CallbackServerContext* /*context*/) {
  return new IngestCall(collections_);
}

grpc::ServerUnaryReactor* DocumentsServiceImpl::WaitUntilSearchable(
    grpc::CallbackServerContext* /*context*/,
    const v1::WaitUntilSearchableRequest* request,
    v1::WaitUntilSearchableResponse* response) {
  return WaitCall::Start(collections_, *request, response);
}

grpc::ServerUnaryReactor* DocumentsServiceImpl::GetDocument(
    grpc::CallbackServerContext* context, const v1::GetDocumentRequest* request,
    v1::GetDocumentResponse* response) {
  return RunUnary(context, executor_, [=, this](const CallContext&) {
    return pith::GetDocument(collections_, *request, *response);
  });
}

grpc::ServerUnaryReactor* DocumentsServiceImpl::DeleteDocuments(
    grpc::CallbackServerContext* context,
    const v1::DeleteDocumentsRequest* request,
    v1::DeleteDocumentsResponse* response) {
  if (request->has_prefix()) {
    return RunUnary(context, executor_, [=, this](const CallContext& call) {
      return DeletePrefix(collections_, *request, call.request, *response);
    });
  }
  return DeleteCall::Start(collections_, *request, response);
}

grpc::ServerUnaryReactor* DocumentsServiceImpl::ListDocuments(
    grpc::CallbackServerContext* context,
    const v1::ListDocumentsRequest* request,
    v1::ListDocumentsResponse* response) {
  return RunUnary(context, executor_, [=, this](const CallContext&) {
    return pith::ListDocuments(collections_, *request, *response);
  });
}

}  // namespace pith
