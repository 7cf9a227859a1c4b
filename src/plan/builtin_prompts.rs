//! The prompts that a load test has without naming any: a dozen of several lengths and tasks, about 10 to
//! 450 tokens each.

/// In the order in which they are used.
pub const PROMPTS: [&str; 12] = [
    "What is the capital of Australia?",
    "Explain in two sentences why the sky looks blue at noon and red at sunset.",
    "Write a function in Python that merges two sorted lists into one sorted list, without using sort. \
     Add a short comment that says how long it takes.",
    "Translate into French, German and Spanish: \"The meeting was moved to Thursday because the projector is broken.\"",
    "List five questions that a landlord should ask a new tenant, and say for each what a good answer tells.",
    "A train leaves at 14:05 and travels 312 km at an average of 96 km/h. A second one leaves the same station \
     at 14:50 and travels the same way at 128 km/h. When and where does the second train catch up? Show the steps.",
    "Summarise the following note in three bullet points.\n\nThe bakery on the corner will close for two weeks in \
     August while the oven is replaced. The owners looked into repairing the old one, which dates from 1974, but \
     spare parts are no longer made. During the closure, bread is sold from a van in front of the town hall between \
     seven and eleven in the morning, except on Sundays. Orders for wedding cakes that were placed before the first \
     of July are not affected, as they are baked in the sister shop in the next village.",
    "You are a careful reviewer. Read this function and name every problem that you see, worst first.\n\n\
     def average(values):\n    total = 0\n    for i in range(0, len(values) + 1):\n        total += values[i]\n    \
     return total / len(values)\n",
    "Tell a short story for a six-year-old about a lighthouse that is afraid of the dark. It should have a friendly \
     ending and not be longer than ten sentences.",
    "Compare three ways to store the settings of a command-line program: environment variables, a file, and flags. \
     Say for each when it is the right choice, when it is a trap, and in which order they should override each other.",
    "Here is a table of measurements.\n\nday, morning, noon, evening\nMonday, 14.2, 21.5, 17.9\nTuesday, 13.8, 22.1, \
     18.4\nWednesday, 15.0, 19.7, 16.2\nThursday, 12.9, 18.8, 15.5\nFriday, 13.3, 20.4, 17.0\nSaturday, 14.7, 23.6, \
     19.8\nSunday, 16.1, 24.9, 20.7\n\nWhich day had the largest difference between morning and noon, which evening \
     was the coolest, and what was the mean at noon? Describe the week in two sentences for a newspaper.",
    "A small library wants to know whether lending out electronic books pays. It has 4,200 members, of whom 61 percent \
     borrowed at least one book last year. A licence for one electronic title costs 38 euros, may be lent 26 times, and \
     then has to be bought again. A printed copy costs 17 euros and lasts about 80 loans, but every loan of it costs \
     90 cents in handling, and one in every 55 loans is returned too damaged to be lent again. Members who live \
     further than five kilometres away, roughly a third of them, borrow twice as many electronic books as printed \
     ones; for the others it is the other way round. The shelf space that a printed copy takes is valued at 1.20 euros \
     a year.\n\nWork out what one loan of a printed and of an electronic book costs. State every assumption that you \
     need and that is not given. Then say for which titles the library should buy licences, for which it should buy \
     printed copies, and which two numbers it should measure next year to decide better. Finish with a recommendation \
     of one paragraph that a member of the town council can understand without having read the rest.",
];
