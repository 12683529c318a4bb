"""The mock processor: it decides (`server`), submits (`submitter`), and keeps a book of both (`book`)."""
