"""The label provider `page`: people label the photos on the labelling page, and reviewers check the labels.

`requesting` makes the tasks for the state `Request labels`. The handlers of the page's calls use `labelling` and
`reviewing`, which change one photo with one conditional write. `finishing` merges the answers and answers the task
token. `tasks` is the table; `states` has the rules for a photo's changes.

What is acknowledged counts: each handler checks before and after its write that the job is open, and `finishing` closes
the job before it reads the answers::

    person      open?   write                     open? no: 409
    finishing                   close   read all
    person      open?   write   open? yes: 200
    finishing                                     close   read all
"""
