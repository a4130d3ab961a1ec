# A Lambda function beside the tieline extension: leads come by HTTP, wait in a queue, and are upserted to Salesforce.
# ../README.md says what each part is for. examples/ has the stages dev and prod.
#
#   storage.tf         keys, secrets, token store, queues
#   iam.tf             policies, and the role of the function
#   function.tf        function, layer, trigger of the queue, schedule, API
#   network.tf         VPC, off by default
#   observability.tf   logs, topic, alarms, dashboard
