"""Acts: what people have this process do, and what may be known of it afterwards. Pure.

    actors   who comes, by which way, and what that one may do
    table    every act: whom it takes, what it takes, what it will mean
    book     the acts of a journal, each with its end, as people see them

Every act is a record (`steps.Act`) that says who, from where, why and what. An act that only makes us do less (`drain`,
`stop-submitting`) takes effect at once and is recorded as soon as there is room; every other act waits for its record.
A second person can be demanded for those (`node.acts.second_person`): nobody approves their own.

`ops.desk` carries acts out; `ops.server` lets those in who ask for them; `commands.acts` is what a person types.
"""
